//! The seam for encryption at rest: what is written to disk is sealed, what is read is opened.
//!
//! No cipher lives here; [`Plain`] is the identity. Mirrors SwarmKit's `manager/encryption`.

/// Why sealed bytes could not be opened. The bytes and keys are never told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key that is known here opens the record.
    #[error("no known key opens the record")]
    UnknownKey,
    /// The record was changed after it was sealed.
    #[error("the record does not authenticate")]
    Tampered,
}

/// Seals the bodies of entries and snapshots before they reach the disk.
pub trait Sealer: Send + Sync {
    /// The bytes to write for `plain`.
    fn seal(&self, plain: Vec<u8>) -> Vec<u8>;

    /// The bytes that were sealed.
    ///
    /// # Errors
    /// [`SealError`], when no known key opens them or they were changed.
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError>;
}

/// Leaves everything as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Sealer for Plain {
    fn seal(&self, plain: Vec<u8>) -> Vec<u8> {
        plain
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(sealed.to_vec())
    }
}

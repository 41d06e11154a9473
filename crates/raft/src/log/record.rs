//! How one value lies on disk: a CRC-32 of what follows, then the sealed bytes.
//!
//! redb's own checksums guard its last commit; this one guards every record for as long as it lies there.

use super::LogError;
use crate::sealer::Sealer;

const CHECKSUM_BYTES: usize = 4;

/// The bytes to write for a value.
pub(super) fn pack(sealer: &dyn Sealer, plain: Vec<u8>) -> Vec<u8> {
    let sealed = sealer.seal(plain);
    let mut record = Vec::with_capacity(CHECKSUM_BYTES + sealed.len());
    record.extend_from_slice(&crc32fast::hash(&sealed).to_le_bytes());
    record.extend_from_slice(&sealed);
    record
}

/// The value that [`pack`] wrote; `place` names it in errors.
pub(super) fn unpack(sealer: &dyn Sealer, record: &[u8], place: &str) -> Result<Vec<u8>, LogError> {
    let Some((checksum, sealed)) = record.split_first_chunk::<CHECKSUM_BYTES>() else {
        return Err(corrupt(place, "the record is too short"));
    };
    if u32::from_le_bytes(*checksum) != crc32fast::hash(sealed) {
        return Err(corrupt(place, "the checksum does not match"));
    }
    sealer.open(sealed).map_err(|source| LogError::Sealed { place: place.to_owned(), source })
}

/// A complaint about the record at `place`.
pub(super) fn corrupt(place: &str, why: impl Into<String>) -> LogError {
    LogError::Corrupt { place: place.to_owned(), why: why.into() }
}

//! Backups: the whole state of a cluster at one place of its log, in one file, and what a new cluster is made of it.
//!
//! ```text
//!   BackupSource ── read index, capture ──> Backup ── seal, file ──> bytes ──> a file, or a folder of them
//!   bytes ── checks ──> Backup ── Revival ──> a founder's certificate, and the state its log begins with
//! ```
//!
//! The state is SwarmKit's `Snapshot`: the cluster object in it holds the root CA with its key, the join tokens and the
//! unlock key. The keys of the log are not in it, as a new log gets its own. SwarmKit has no backups of its own.

mod error;
mod file;
mod folder;
mod revival;
mod seal;
mod source;

#[cfg(test)]
mod tests;

use prost::Message as _;
use serde::{Deserialize, Serialize};
use swarm_proto::v1::{Cluster, Snapshot};
use swarm_raft::Position;

pub use error::BackupError;
pub use folder::{BackupFolder, write_file};
pub use revival::Revival;
pub use source::BackupSource;

/// A cluster's state and where it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    about: About,
    /// An encoded [`Snapshot`].
    body: Vec<u8>,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) cluster_id: String,
    /// The manager that made it.
    pub(crate) node_id: String,
    /// The version of the daemon that made it.
    pub(crate) daemon: String,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
    /// The last log entry that is in it.
    pub(crate) index: u64,
    /// The term of that entry.
    pub(crate) term: u64,
}

impl Backup {
    /// The ID of the cluster whose state it is.
    pub fn cluster_id(&self) -> &str {
        &self.about.cluster_id
    }

    /// The place in the log whose state it is.
    pub fn position(&self) -> Position {
        Position { index: self.about.index, term: self.about.term }
    }

    /// The bytes of a file, encrypted if there is a key.
    ///
    /// # Errors
    /// [`BackupError::Seal`], which no known input causes.
    pub fn to_file(&self, key: Option<&str>) -> Result<Vec<u8>, BackupError> {
        let about = serde_json::to_vec(&self.about).map_err(|_| BackupError::Seal)?;
        let length = u32::try_from(about.len()).map_err(|_| BackupError::Seal)?;
        let mut plain = Vec::with_capacity(4 + about.len() + self.body.len());
        plain.extend_from_slice(&length.to_le_bytes());
        plain.extend_from_slice(&about);
        plain.extend_from_slice(&self.body);
        file::encode(plain, key)
    }

    /// The backup in a file's bytes, checked in every way that needs no other node.
    ///
    /// # Errors
    /// [`BackupError`], which says what is wrong with the file or the key.
    pub fn from_file(bytes: &[u8], key: Option<&str>) -> Result<Self, BackupError> {
        let plain = file::decode(bytes, key)?;
        let (length, rest) = plain.split_first_chunk::<4>().ok_or(BackupError::Content)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (about, body) = rest.split_at_checked(length).ok_or(BackupError::Content)?;
        let about = serde_json::from_slice(about).map_err(|_| BackupError::Content)?;
        let backup = Self { about, body: body.to_vec() };
        backup.cluster()?;
        Ok(backup)
    }

    fn snapshot(&self) -> Result<Snapshot, BackupError> {
        Snapshot::decode(self.body.as_slice()).map_err(|_| BackupError::Content)
    }

    fn cluster(&self) -> Result<Cluster, BackupError> {
        let store = self.snapshot()?.store.unwrap_or_default();
        let cluster = store.clusters.into_iter().next();
        cluster.filter(|cluster| cluster.id == self.about.cluster_id).ok_or(BackupError::Content)
    }
}

//! Where a member's log outlives it: entries, hard state and the newest snapshot.
//!
//! One method writes and one reads: the core keeps the window of entries that replication needs in memory, so the
//! disk is read only at start. Mirrors SwarmKit's `manager/state/raft/storage`.

pub mod disk;
pub mod memory;
mod record;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use raft::eraftpb::{Entry, HardState, Snapshot};

pub use disk::DiskLog;
pub use memory::MemoryLog;

/// A place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The entry's index.
    pub index: u64,
    /// The term in which it was appended.
    pub term: u64,
}

/// What one transaction writes; all of it, or nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct LogBatch<'a> {
    /// Contiguous entries; whatever stood from the first one's index on is dropped.
    pub entries: &'a [Entry],
    /// The new term, vote and commit index.
    pub hard_state: Option<&'a HardState>,
    /// The new newest snapshot.
    pub snapshot: Option<&'a Snapshot>,
    /// Entries up to and with this one are dropped. With a snapshot of a leader that is its own position, and then
    /// entries behind it go too.
    pub compact: Option<Compact>,
}

/// How the head of the log is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compact {
    /// The last entry that goes.
    pub to: Position,
    /// Whether what follows goes too: the log then goes on from a snapshot that it did not lead to.
    pub all: bool,
}

/// What a log held when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// The last hard state written.
    pub hard_state: HardState,
    /// The newest snapshot; its index is 0 where there is none.
    pub snapshot: Snapshot,
    /// The last entry that compaction dropped.
    pub compacted: Position,
    /// Every entry after `compacted`.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.compacted.index == 0
            && self.hard_state == HardState::default()
    }
}

/// Keeps a member's log. A write that returned survives the loss of power.
pub trait LogStore: Send {
    /// Everything that was written, checked.
    ///
    /// # Errors
    /// [`LogError`], when the log cannot be read or cannot be trusted.
    fn recover(&mut self) -> Result<Recovered, LogError>;

    /// Writes a batch in one transaction with one flush.
    ///
    /// # Errors
    /// [`LogError`]; the member must stop then, as nobody knows what is on disk.
    fn write(&mut self, batch: LogBatch<'_>) -> Result<(), LogError>;
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory or file could not be made or opened.
    #[error("opening the raft log {}", path.display())]
    Open {
        /// The log's file.
        path: PathBuf,
        /// What the system or the library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log was written by a newer version.
    #[error("the raft log has format {found}, and this version reads up to {known}")]
    Format {
        /// The format found.
        found: u32,
        /// The newest format that is understood.
        known: u32,
    },
    /// A record does not match its checksum, or is missing: the disk or a hand changed the file.
    #[error(
        "the raft log is damaged at {place}: {why}; restore it from a backup or let the member rejoin"
    )]
    Corrupt {
        /// The record.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A sealed record could not be opened.
    #[error("unsealing {place} of the raft log")]
    Sealed {
        /// The record.
        place: String,
        /// Why not.
        #[source]
        source: crate::sealer::SealError,
    },
    /// Reading or writing failed.
    #[error("{action} the raft log")]
    Storage {
        /// What was being done.
        action: &'static str,
        /// What the library said.
        #[source]
        source: Box<redb::Error>,
    },
}

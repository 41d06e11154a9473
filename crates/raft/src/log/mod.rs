//! Where a member's log outlives it: entries, hard state and the newest snapshot.
//!
//! One method writes and one reads: the core keeps the window of entries that replication needs in memory, so the
//! disk is read only at start. Mirrors SwarmKit's `manager/state/raft/storage`.

pub mod disk;
pub mod memory;

mod background;
mod batch;
mod directory;
mod error;
mod frame;
mod ledger;
mod recovery;
mod segment;
mod snapshot_file;

#[cfg(test)]
mod tests;

use std::path::Path;

use raft::eraftpb::{Entry, HardState, Snapshot};

pub use disk::DiskLog;
pub use error::LogError;
pub use memory::MemoryLog;

/// Whether a log was ever written in `dir`.
pub fn has_log(dir: &Path) -> bool {
    directory::segments(dir).is_ok_and(|segments| !segments.is_empty())
}

/// A place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The entry's index.
    pub index: u64,
    /// The term in which it was appended.
    pub term: u64,
}

/// The place in the log that a snapshot stands for.
pub fn position(snapshot: &Snapshot) -> Position {
    let metadata = snapshot.get_metadata();
    Position { index: metadata.index, term: metadata.term }
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
    /// Whether the batch holds the whole log from its compaction on: it goes into a segment of its own, and whatever
    /// was written before is gone when the write returns.
    pub is_whole: bool,
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

    /// What writes a snapshot ahead of the batch that will say so, on another thread, so that the batch itself is
    /// small. Does nothing where a log has no use for it.
    fn snapshot_writer(&self) -> SnapshotWriter {
        Box::new(|_| Ok(()))
    }
}

/// Writes one snapshot; see [`LogStore::snapshot_writer`].
pub type SnapshotWriter = Box<dyn FnOnce(&Snapshot) -> Result<(), LogError> + Send>;

//! What a core asks its driver to do.

use raft::eraftpb::{ConfChange, ConfState, Entry, HardState, Message, Snapshot};

use crate::log::{Compact, LogBatch, position};

/// One order, to be carried out before the ones behind it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Hand these to the network.
    Send(Vec<Message>),
    /// Write this and then call `Member::persisted` with its number.
    Persist(Persist),
    /// Replace the state by this snapshot's.
    Restore(Box<Snapshot>),
    /// Apply these and then call `Member::applied` with the last one's index.
    Apply(Vec<Entry>),
    /// The membership became this at `index`; the core knows it already.
    Membership {
        /// The entry that changed it.
        index: u64,
        /// The change.
        change: Box<Change>,
    },
    /// Reads that were asked for under `context` may be served once `index` is applied.
    Read {
        /// What the asker gave.
        context: Vec<u8>,
        /// The index to wait for.
        index: u64,
    },
    /// A follower needs a snapshot: make one and call `Member::offer_snapshot`.
    MakeSnapshot,
}

/// A change of the membership that was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What was asked for.
    pub change: ConfChange,
    /// The members since then.
    pub members: ConfState,
}

/// A batch for the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Persist {
    /// Names the batch to `Member::persisted`.
    pub number: u64,
    /// Entries to append.
    pub entries: Vec<Entry>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// A leader's snapshot, which replaces the log.
    pub snapshot: Option<Box<Snapshot>>,
    /// Whether it must be on disk before `Member::persisted` is called; else it may be written with the next one.
    pub must_sync: bool,
}

impl Persist {
    /// The batch as a log takes it.
    pub fn batch(&self) -> LogBatch<'_> {
        let compact =
            self.snapshot.as_ref().map(|snapshot| Compact { to: position(snapshot), all: true });
        LogBatch {
            entries: &self.entries,
            hard_state: self.hard_state.as_ref(),
            snapshot: self.snapshot.as_deref(),
            compact,
            is_whole: false,
        }
    }
}

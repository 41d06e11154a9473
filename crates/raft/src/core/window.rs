//! The part of the log that is kept in memory: all that is not compacted. The `raft` crate reads it as its `Storage`.
//!
//! It runs ahead of the disk by what is being persisted, which the `raft` crate accounts for itself.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::log::{Position, Recovered, position};

/// The uncompacted log.
#[derive(Debug, Default)]
pub struct Window {
    hard_state: HardState,
    conf_state: ConfState,
    compacted: Position,
    entries: VecDeque<Entry>,
    bytes: u64,
    /// A snapshot for followers that fell behind the window; kept only while one is being sent.
    offer: Option<Snapshot>,
    wanted: Cell<bool>,
}

impl Window {
    /// The window over what a log held.
    pub fn new(recovered: &Recovered) -> Self {
        Self {
            // A snapshot is made of committed entries alone, even where the hard state that says so was not flushed.
            hard_state: HardState {
                commit: recovered.hard_state.commit.max(position(&recovered.snapshot).index),
                ..recovered.hard_state.clone()
            },
            conf_state: recovered.snapshot.get_metadata().get_conf_state().clone(),
            compacted: recovered.compacted,
            bytes: recovered.entries.iter().map(size).sum(),
            entries: recovered.entries.iter().cloned().collect(),
            offer: None,
            wanted: Cell::new(false),
        }
    }

    /// The bytes of all entries' bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes new entries; what stood in their place goes.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.compacted.index, "entry {} was compacted", first.index);
        while self.entries.back().is_some_and(|last| last.index >= first.index) {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, size);
        }
        assert_eq!(first.index, self.last() + 1, "the log has no gap");
        self.bytes += entries.iter().map(size).sum::<u64>();
        self.entries.extend(entries.iter().cloned());
    }

    /// All entries.
    pub fn all(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    /// Takes a new hard state.
    pub fn set_hard_state(&mut self, state: &HardState) {
        self.hard_state = state.clone();
    }

    /// Goes on from a leader's snapshot.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.compacted = position(snapshot);
        self.conf_state = snapshot.get_metadata().get_conf_state().clone();
        self.entries.clear();
        self.bytes = 0;
        self.offer = None;
    }

    /// The last entry that may go where a snapshot stands for all up to `index`, so that behind it no more stays than so
    /// many entries and so many bytes.
    pub fn surplus(&self, index: u64, entries_max: u64, bytes_max: u64) -> u64 {
        let mut bytes = 0;
        let kept = self.entries.iter().rev().skip_while(|entry| entry.index > index);
        let kept = kept.take_while(|entry| {
            bytes += size(entry);
            bytes <= bytes_max
        });
        let entries_max = usize::try_from(entries_max).unwrap_or(usize::MAX);
        index - kept.take(entries_max).count() as u64
    }

    /// Drops entries up to `index`, and tells the last one that went.
    pub fn compact(&mut self, index: u64) -> Position {
        while let Some(first) = self.entries.front()
            && first.index <= index
        {
            self.compacted = Position { index: first.index, term: first.term };
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, size);
        }
        self.compacted
    }

    /// Whether a follower needs a snapshot that is not here; asking resets it.
    pub fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    /// Sets or drops the snapshot for followers.
    pub fn set_offer(&mut self, offer: Option<Snapshot>) {
        self.offer = offer;
    }

    fn last(&self) -> u64 {
        self.entries.back().map_or(self.compacted.index, |entry| entry.index)
    }

    fn offset(&self, index: u64) -> Result<usize, Error> {
        let Some(offset) = index.checked_sub(self.compacted.index + 1) else {
            return Err(StorageError::Compacted.into());
        };
        usize::try_from(offset).map_err(|_| StorageError::Unavailable.into())
    }
}

impl Storage for Window {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        bytes_max: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let (from, to) = (self.offset(low)?, self.offset(high)?);
        if to > self.entries.len() {
            return Err(StorageError::Unavailable.into());
        }
        let bytes_max = bytes_max.into().unwrap_or(u64::MAX);
        let mut bytes = 0u64;
        // At least one entry, whatever its size.
        let fitting = self.entries.range(from..to).enumerate().take_while(|(n, entry)| {
            bytes += size(entry);
            *n == 0 || bytes <= bytes_max
        });
        Ok(fitting.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.compacted.index {
            return Ok(self.compacted.term);
        }
        let entry = self.entries.get(self.offset(index)?);
        entry.map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let index_min = request_index.max(self.compacted.index);
        match &self.offer {
            Some(offer) if position(offer).index >= index_min && knows(offer, to) => {
                Ok(offer.clone())
            }
            _ => {
                self.wanted.set(true);
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}

/// Whether a snapshot was taken with the member in the group: a member ignores one that does not know it.
fn knows(snapshot: &Snapshot, id: u64) -> bool {
    let members = snapshot.get_metadata().get_conf_state();
    members.voters.contains(&id) || members.learners.contains(&id)
}

fn size(entry: &Entry) -> u64 {
    entry.data.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_kept_behind_a_snapshot() {
        let entry = |index| Entry { index, data: vec![0; 100].into(), ..Entry::default() };
        let mut window = Window::default();
        window.append(&(1..=20).map(entry).collect::<Vec<_>>());
        for (entries_max, bytes_max, expect) in
            [(5, 10_000, 10), (5, 250, 13), (0, 10_000, 15), (5, 0, 15), (500, 10_000, 0)]
        {
            let surplus = window.surplus(15, entries_max, bytes_max);
            assert_eq!(surplus, expect, "{entries_max} entries, {bytes_max} bytes");
        }
        // What was compacted before is gone.
        window.compact(12);
        assert_eq!(window.surplus(15, 500, 10_000), 12);
    }
}

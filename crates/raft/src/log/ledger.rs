//! What the log says on the whole, without its entries: what each new segment begins with, and which are needed.

use std::collections::VecDeque;

use raft::eraftpb::HardState;

use super::batch::{Encoder, SnapshotRef};
use super::{Compact, Position};

/// A segment that is no longer written to.
#[derive(Debug, Clone, Copy)]
struct Closed {
    number: u64,
    /// The highest entry in it; 0 where it holds none that counts.
    last: u64,
}

/// The newest of everything but entries.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) hard_state: HardState,
    pub(super) snapshot: SnapshotRef,
    pub(super) compacted: Position,
    closed: VecDeque<Closed>,
    /// The highest entry in the segment that is written to.
    last: u64,
}

impl Ledger {
    /// An entry was written.
    pub(super) fn entry(&mut self, index: u64) {
        self.last = self.last.max(index);
    }

    /// The head of the log was dropped.
    pub(super) fn compact(&mut self, compact: Compact) {
        self.compacted = compact.to;
        if compact.all {
            self.last = 0;
            self.closed.iter_mut().for_each(|segment| segment.last = 0);
        }
    }

    /// The segment with this number is full.
    pub(super) fn close(&mut self, number: u64) {
        self.closed.push_back(Closed { number, last: std::mem::take(&mut self.last) });
    }

    /// The segment that is written to holds all that counts.
    pub(super) fn supersede(&mut self) {
        self.closed.iter_mut().for_each(|segment| segment.last = 0);
    }

    /// Forgets the oldest segments, as far as they hold nothing that is needed, and tells their numbers.
    pub(super) fn freed(&mut self) -> Vec<u64> {
        let mut freed = Vec::new();
        while let Some(oldest) = self.closed.front()
            && oldest.last <= self.compacted.index
        {
            freed.push(oldest.number);
            self.closed.pop_front();
        }
        freed
    }

    /// Says all of it again, so that no segment before is needed for it.
    pub(super) fn checkpoint(&self, encoder: &mut Encoder) {
        if self.hard_state != HardState::default() {
            encoder.hard_state(&self.hard_state);
        }
        if self.snapshot != SnapshotRef::default() {
            encoder.snapshot(self.snapshot);
        }
        if self.compacted != Position::default() {
            encoder.compact(Compact { to: self.compacted, all: false });
        }
    }
}

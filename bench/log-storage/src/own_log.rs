//! The project's own write-ahead log, through the trait that the Raft driver uses.

use crate::Log;
use raft::eraftpb::{Entry, HardState, Snapshot};
use std::path::Path;
use std::sync::Arc;
use swarm_raft::Plain;
use swarm_raft::log::{Compact, DiskLog, LogBatch, LogStore, Position};

/// Segments of frames, with snapshots beside them.
pub struct OwnLog {
    log: DiskLog,
}

impl OwnLog {
    fn write(&mut self, batch: LogBatch<'_>) {
        self.log.write(batch).expect("write");
    }
}

impl Log for OwnLog {
    fn open(dir: &Path) -> Self {
        Self { log: DiskLog::open(dir, Arc::new(Plain)).expect("open") }
    }

    fn append(&mut self, first: u64, count: u64, body: &[u8]) {
        let entries: Vec<Entry> = (first..first + count)
            .map(|index| Entry { index, term: 1, data: body.to_vec().into(), ..Entry::default() })
            .collect();
        let state = HardState { term: 1, vote: 1, commit: first - 1, ..HardState::default() };
        self.write(LogBatch { entries: &entries, hard_state: Some(&state), ..LogBatch::default() });
    }

    /// As Raft does it: the new entry stands in place of the old ones.
    fn cut_tail(&mut self, first: u64) {
        let entry = Entry { index: first, term: 2, ..Entry::default() };
        let state = HardState { term: 2, commit: first - 1, ..HardState::default() };
        self.write(LogBatch { entries: &[entry], hard_state: Some(&state), ..LogBatch::default() });
    }

    fn compact(&mut self, first: u64) {
        let to = Position { index: first - 1, term: 1 };
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = to.index;
        snapshot.mut_metadata().term = to.term;
        let compact = Some(Compact { to, all: false });
        self.write(LogBatch { snapshot: Some(&snapshot), compact, ..LogBatch::default() });
    }

    fn read_all(&mut self) -> u64 {
        self.log.recover().expect("recover").entries.len() as u64
    }
}

//! A member's disk: batches that were flushed survive a crash, the one being written survives whole or not at all.
//!
//! A torn frame is the same as none to whoever recovers: `swarm_raft::log` proves that on real files, so it is not
//! repeated here in bytes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::{Entry, HardState, Snapshot};
use swarm_raft::log::{Compact, LogBatch, MemoryLog, Recovered};
use swarm_raft::{LogError, LogStore};

use crate::options::Bug;
use crate::random::Random;

/// So many batches wait for their flush under [`Bug::AcknowledgeBeforeFlush`].
const UNFLUSHED_MAX: usize = 4;

/// What will befall the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// The machine dies while it is written.
    Crash,
    /// There is no room.
    Full,
}

/// A disk; clones share it, so that it outlives the member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    flushed: MemoryLog,
    unflushed: Vec<Written>,
    fault: Option<DiskFault>,
    bug: Option<Bug>,
}

/// A batch that may still be lost.
#[derive(Debug)]
struct Written {
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
    snapshot: Option<Snapshot>,
    compact: Option<Compact>,
}

impl Disk {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let disk = Self::default();
        disk.state().bug = bug;
        disk
    }

    /// Sets what befalls the next write, or takes it back.
    pub(crate) fn set_fault(&self, fault: Option<DiskFault>) {
        self.state().fault = fault;
    }

    /// The machine loses power: of what was not flushed, a part is there nevertheless.
    pub(crate) fn crash(&self, random: &mut Random) {
        let state = &mut *self.state();
        state.fault = None;
        let kept = random.below(state.unflushed.len() + 1);
        let unflushed = std::mem::take(&mut state.unflushed);
        for written in &unflushed[..kept] {
            flush(&mut state.flushed, written);
        }
    }

    /// The process ended and the machine did not: everything that was written is there.
    pub(crate) fn settle(&self) {
        let state = &mut *self.state();
        for written in std::mem::take(&mut state.unflushed) {
            flush(&mut state.flushed, &written);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flush(flushed: &mut MemoryLog, written: &Written) {
    let batch = LogBatch {
        entries: &written.entries,
        hard_state: written.hard_state.as_ref(),
        snapshot: written.snapshot.as_ref(),
        compact: written.compact,
    };
    flushed.write(batch).expect("memory takes every write");
}

impl LogStore for Disk {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let state = &mut *self.state();
        let mut recovered = state.flushed.recover()?;
        if state.bug == Some(Bug::ForgetVote) {
            recovered.hard_state.vote = 0;
        }
        Ok(recovered)
    }

    fn write(&mut self, batch: LogBatch<'_>) -> Result<(), LogError> {
        let failed =
            |kind: io::ErrorKind| LogError::Storage { action: "writing", source: kind.into() };
        let state = &mut *self.state();
        if state.fault == Some(DiskFault::Full) {
            return Err(failed(io::ErrorKind::StorageFull));
        }
        state.unflushed.push(Written {
            entries: batch.entries.to_vec(),
            hard_state: batch.hard_state.cloned(),
            snapshot: batch.snapshot.cloned(),
            compact: batch.compact,
        });
        if state.fault == Some(DiskFault::Crash) {
            return Err(failed(io::ErrorKind::Interrupted));
        }
        let lag = if state.bug == Some(Bug::AcknowledgeBeforeFlush) { UNFLUSHED_MAX } else { 0 };
        while state.unflushed.len() > lag {
            let written = state.unflushed.remove(0);
            flush(&mut state.flushed, &written);
        }
        Ok(())
    }
}

//! A member's disk: the real log of `swarm_raft` in a directory of its own, and what may befall a write.
//!
//! What was flushed survives; of the batch that is being written when the power goes, any sectors do ([`crate::torn`]).
//! The directory lies in memory where the machine has such a place, as nothing here needs a real flush.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::{Entry, HardState, Snapshot};
use swarm_raft::log::{Compact, DiskLog, LogBatch, Recovered, SnapshotWriter};
use swarm_raft::sealer::Plain;
use swarm_raft::{LogError, LogStore};
use tempfile::TempDir;

use crate::options::Bug;
use crate::random::Random;
use crate::torn;

/// So many batches wait for their flush under [`Bug::AcknowledgeBeforeFlush`].
const UNFLUSHED_MAX: usize = 4;
/// Small, so that logs go on in new segments, and drop old ones, many times in a run.
const SEGMENT_BYTES: u64 = 1 << 14;
/// Memory under the name of a directory, on Linux.
const MEMORY: &str = "/dev/shm";

/// What will befall the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// The machine dies while it is written.
    Crash,
    /// There is no room.
    Full,
}

/// A disk; clones share it, so that it outlives the member.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    dir: TempDir,
    /// The directory as it was before the write during which the machine dies.
    before: Option<TempDir>,
    unflushed: Vec<Written>,
    fault: Option<DiskFault>,
    bug: Option<Bug>,
}

/// A batch that the planted bug has not flushed.
#[derive(Debug)]
struct Written {
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
    snapshot: Option<Snapshot>,
    compact: Option<Compact>,
    is_whole: bool,
}

/// The log on a disk as long as its member runs.
struct OpenDisk {
    disk: Disk,
    log: DiskLog,
}

/// A directory that goes when it is dropped.
fn directory() -> TempDir {
    let memory = Path::new(MEMORY);
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("the machine that simulates has room for a directory")
}

impl Disk {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let dir = directory();
        let state = State { dir, before: None, unflushed: Vec::new(), fault: None, bug };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The log, for a member that starts.
    ///
    /// # Errors
    /// [`LogError`], as the log's.
    pub(crate) fn open(&self) -> Result<Box<dyn LogStore>, LogError> {
        let log = open(self.state().dir.path())?;
        Ok(Box::new(OpenDisk { disk: self.clone(), log }))
    }

    /// Sets what befalls the next write, or takes it back.
    pub(crate) fn set_fault(&self, fault: Option<DiskFault>) {
        self.state().fault = fault;
    }

    /// The disk has room again, if it had none.
    pub(crate) fn make_room(&self) {
        self.state().fault.take_if(|fault| *fault == DiskFault::Full);
    }

    /// The machine has lost power: of what was being written, a part is there. Its member is gone.
    pub(crate) fn crash(&self, random: &mut Random) {
        let state = &mut *self.state();
        state.fault.take_if(|fault| *fault == DiskFault::Crash);
        if let Some(before) = state.before.take() {
            torn::tear(before.path(), state.dir.path(), random)
                .expect("the directory of a simulated disk can be written");
        }
        let kept = random.below(state.unflushed.len() + 1);
        state.unflushed.truncate(kept);
        state.settle();
    }

    /// The process ended and the machine did not: everything that was written is there.
    pub(crate) fn settle(&self) {
        let state = &mut *self.state();
        state.before = None;
        state.fault.take_if(|fault| *fault == DiskFault::Crash);
        state.settle();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn settle(&mut self) {
        if self.unflushed.is_empty() {
            return;
        }
        let mut log = open(self.dir.path()).expect("nobody has the log of a member that is gone");
        for written in self.unflushed.drain(..) {
            log.write(written.batch()).expect("there is room");
        }
    }
}

fn open(dir: &Path) -> Result<DiskLog, LogError> {
    DiskLog::with_segments(dir, Arc::new(Plain), SEGMENT_BYTES)
}

impl Written {
    fn of(batch: LogBatch<'_>) -> Self {
        Self {
            entries: batch.entries.to_vec(),
            hard_state: batch.hard_state.cloned(),
            snapshot: batch.snapshot.cloned(),
            compact: batch.compact,
            is_whole: batch.is_whole,
        }
    }

    fn batch(&self) -> LogBatch<'_> {
        LogBatch {
            entries: &self.entries,
            hard_state: self.hard_state.as_ref(),
            snapshot: self.snapshot.as_ref(),
            compact: self.compact,
            is_whole: self.is_whole,
        }
    }
}

fn failed(kind: io::ErrorKind) -> LogError {
    LogError::Storage { action: "writing", source: kind.into() }
}

impl LogStore for OpenDisk {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let mut recovered = self.log.recover()?;
        if self.disk.state().bug == Some(Bug::ForgetVote) {
            recovered.hard_state.vote = 0;
        }
        Ok(recovered)
    }

    fn write(&mut self, batch: LogBatch<'_>) -> Result<(), LogError> {
        let state = &mut *self.disk.state();
        let flushes = state.bug != Some(Bug::AcknowledgeBeforeFlush);
        match state.fault {
            Some(DiskFault::Full) => return Err(failed(io::ErrorKind::StorageFull)),
            Some(DiskFault::Crash) if flushes => {
                let before = directory();
                torn::copy(state.dir.path(), before.path())
                    .map_err(|error| failed(error.kind()))?;
                self.log.write(batch)?;
                state.before = Some(before);
                return Err(failed(io::ErrorKind::Interrupted));
            }
            Some(DiskFault::Crash) => {
                state.unflushed.push(Written::of(batch));
                return Err(failed(io::ErrorKind::Interrupted));
            }
            None => {}
        }
        if flushes {
            return self.log.write(batch);
        }
        state.unflushed.push(Written::of(batch));
        while state.unflushed.len() > UNFLUSHED_MAX {
            let written = state.unflushed.remove(0);
            self.log.write(written.batch())?;
        }
        Ok(())
    }

    fn snapshot_writer(&self) -> SnapshotWriter {
        let (disk, writer) = (self.disk.clone(), self.log.snapshot_writer());
        Box::new(move |snapshot| match disk.state().fault {
            Some(DiskFault::Full) => Err(failed(io::ErrorKind::StorageFull)),
            _ => writer(snapshot),
        })
    }
}

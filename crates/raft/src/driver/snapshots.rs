//! Snapshots without a stop: the raft thread captures the state, another thread encodes it and writes the file, and
//! the raft thread hears of it as of any other input. One at a time.

use std::sync::Weak;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use raft::eraftpb::Snapshot;

use super::inbox::{Done, Input};
use super::{Capture, RaftConfig};
use crate::error::RaftError;
use crate::log::{LogError, SnapshotWriter, position};
use crate::metrics;

/// The snapshot under way.
enum Running {
    Thread(JoinHandle<()>),
    /// It was taken at once, and the news of it waits in the inbox.
    Taken,
}

/// When snapshots are taken, and who waits for one.
pub(super) struct Snapshots {
    /// The inbox, as long as anybody can still put something in.
    inbox: Weak<Sender<Input>>,
    running: Option<Running>,
    /// Whether they are taken on the raft thread itself, which then stops for them.
    pub(super) is_inline: bool,
    /// The newest snapshot that the log has.
    index: u64,
    /// What was applied when the last one was begun.
    begun: u64,
    /// The bytes of the entries since then.
    bytes: u64,
    /// Callers that wait for a snapshot of at least this index.
    waiting: Vec<(u64, Done)>,
    /// Callers that wait until nothing is on disk but what is written from now on.
    resealing: Vec<Done>,
    /// Of these, those that the snapshot under way is for.
    resealed: Vec<Done>,
    /// Whether a follower waits for one.
    pub(super) is_wanted: bool,
}

impl Snapshots {
    /// The log has a snapshot up to `index`, and entries of so many bytes behind it.
    pub(super) fn new(inbox: Weak<Sender<Input>>, index: u64, bytes: u64) -> Self {
        Self {
            inbox,
            running: None,
            is_inline: false,
            index,
            begun: index,
            bytes,
            waiting: Vec::new(),
            resealing: Vec::new(),
            resealed: Vec::new(),
            is_wanted: false,
        }
    }

    /// Entries were written to the log.
    pub(super) fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Whether to begin one now, with this much applied.
    pub(super) fn is_due(&self, applied: u64, config: &RaftConfig) -> bool {
        let grown =
            applied - self.begun >= config.snapshot_entries || self.bytes >= config.snapshot_bytes;
        let asked = self.is_wanted || !self.waiting.is_empty() || !self.resealing.is_empty();
        self.running.is_none() && applied > 0 && (asked || (grown && applied > self.index))
    }

    /// A caller wants one of all that is applied.
    pub(super) fn ask(&mut self, applied: u64, done: Done) {
        self.waiting.push((applied, done));
        self.settle();
    }

    /// A caller wants everything on disk written anew.
    pub(super) fn ask_reseal(&mut self, done: Done) {
        self.resealing.push(done);
    }

    /// Whether the snapshot that has ended is to replace all that is on disk.
    pub(super) fn is_reseal(&self) -> bool {
        !self.resealed.is_empty()
    }

    /// Begins one: `head` says what it stands for, `capture` makes its body.
    pub(super) fn begin(&mut self, mut head: Snapshot, capture: Capture, writer: SnapshotWriter) {
        let Some(inbox) = self.inbox.upgrade() else { return };
        let inbox = Sender::clone(&inbox);
        self.begun = position(&head).index;
        self.bytes = 0;
        self.resealed.append(&mut self.resealing);
        let is_new = self.begun > self.index || self.is_reseal();
        let work = move || {
            let timer = metrics::SNAPSHOT.start_timer();
            head.data = capture().into();
            let written = if is_new { writer(&head) } else { Ok(()) };
            timer.observe_duration();
            let made = written.map(|()| head);
            // A member that has stopped needs none.
            let _ = inbox.send(Input::SnapshotMade(Box::new(made)));
        };
        if self.is_inline {
            work();
            self.running = Some(Running::Taken);
            return;
        }
        let spawned = std::thread::Builder::new().name("raft-snapshot".to_owned()).spawn(work);
        match spawned {
            Ok(thread) => self.running = Some(Running::Thread(thread)),
            Err(source) => self.failed(|| RaftError::Thread(copied(&source))),
        }
    }

    /// The one under way has ended; the snapshot, unless the log has a newer one, or it failed.
    pub(super) fn ended(&mut self, made: Result<Snapshot, LogError>) -> Option<Snapshot> {
        self.join();
        match made {
            Ok(snapshot) if position(&snapshot).index >= self.index => Some(snapshot),
            Ok(_) => {
                // A leader's snapshot came meanwhile: what was to be written anew is, with the next one.
                self.resealing.append(&mut self.resealed);
                None
            }
            Err(error) => {
                // Nothing is lost: the log goes on from the one before, and the next is tried in time.
                tracing::error!(error = &error as &dyn std::error::Error, "no snapshot was taken");
                self.failed(|| RaftError::SnapshotFailed);
                None
            }
        }
    }

    /// Whether the log has no snapshot up to `index` yet.
    pub(super) fn is_new(&self, index: u64) -> bool {
        index > self.index
    }

    /// The log has a snapshot up to `index`.
    pub(super) fn recorded(&mut self, index: u64) {
        self.index = index;
        self.settle();
    }

    /// Everything on disk was written anew.
    pub(super) fn resealed(&mut self) {
        self.resealed.drain(..).for_each(|done| done(Ok(self.index)));
    }

    /// A leader's snapshot replaced state and log.
    pub(super) fn replaced(&mut self, index: u64) {
        (self.begun, self.bytes) = (self.begun.max(index), 0);
        self.recorded(index);
    }

    /// The member stops: nothing may be written to its directory after it.
    pub(super) fn stop(&mut self) {
        self.failed(|| RaftError::Stopped);
        self.join();
    }

    fn settle(&mut self) {
        for (_, done) in self.waiting.extract_if(.., |(index, _)| *index <= self.index) {
            done(Ok(self.index));
        }
    }

    fn failed(&mut self, error: impl Fn() -> RaftError) {
        self.is_wanted = false;
        self.waiting.drain(..).for_each(|(_, done)| done(Err(error())));
        let resealing = self.resealing.drain(..).chain(self.resealed.drain(..));
        resealing.for_each(|done| done(Err(error())));
    }

    fn join(&mut self) {
        if let Some(Running::Thread(thread)) = self.running.take()
            && thread.join().is_err()
        {
            tracing::error!("taking a snapshot panicked");
        }
    }
}

fn copied(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}

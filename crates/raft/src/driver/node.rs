//! The handle to a running member.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use raft::eraftpb::ConfChangeType;
use tokio::sync::{oneshot, watch};

use super::inbox::{Done, Input};
use super::reform::{self, Reform};
use super::snapshots::Snapshots;
use super::stepped::Stepped;
use super::thread::Driver;
use super::{Capture, MemberChange, RaftConfig, StateMachine, Status, Transport};
use crate::core::Member;
use crate::error::RaftError;
use crate::log::{DiskLog, LogBatch, LogError, LogStore, Position, Recovered, position};
use crate::wire;

/// Incoming messages that may wait. Beyond it they are refused: the sender's Raft repeats what matters, and a member
/// that is so far behind is better off with fewer.
const MESSAGES_WAITING_MAX: usize = 4096;

/// A running member; clones share it. Proposals are not bounded here: each belongs to a caller who waits for it.
#[derive(Clone)]
pub struct RaftNode {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: Arc<mpsc::Sender<Input>>,
    status: watch::Receiver<Status>,
    gauges: Arc<Gauges>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What handle and thread share beside the inbox.
#[derive(Default)]
pub(super) struct Gauges {
    /// Counts leaderships. What was submitted under an earlier one is dropped, as the state machine was told.
    pub(super) epoch: AtomicU64,
    /// Incoming messages in the inbox.
    pub(super) messages: AtomicUsize,
}

impl RaftNode {
    /// Opens the log in the configured directory and starts a member over it. A member that is alone leads at once.
    ///
    /// # Errors
    /// [`RaftError`], when the log cannot be opened or trusted, or the state machine refuses its snapshot.
    pub fn start(
        config: RaftConfig,
        machine: Box<dyn StateMachine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, RaftError> {
        let log = DiskLog::open(&config.dir, config.sealer.clone())?;
        Self::start_on(config, Box::new(log), machine, transport)
    }

    /// As [`RaftNode::start`], over any log.
    ///
    /// # Errors
    /// As [`RaftNode::start`].
    pub fn start_on(
        config: RaftConfig,
        log: Box<dyn LogStore>,
        machine: Box<dyn StateMachine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, RaftError> {
        let on_start = config.on_start;
        let (node, driver, inputs) = Self::assemble(config, log, machine, transport)?;
        let run = move || {
            on_start.into_iter().for_each(|begin| begin());
            driver.run(&inputs);
        };
        let thread = std::thread::Builder::new()
            .name("raft".to_owned())
            .spawn(run)
            .map_err(RaftError::Thread)?;
        *node.thread() = Some(thread);
        Ok(node)
    }

    /// As [`RaftNode::start_on`], without a thread: the caller takes the member's turns.
    ///
    /// # Errors
    /// As [`RaftNode::start`].
    pub fn stepped(
        config: RaftConfig,
        log: Box<dyn LogStore>,
        machine: Box<dyn StateMachine>,
        transport: Arc<dyn Transport>,
    ) -> Result<(Self, Stepped), RaftError> {
        let (node, driver, inputs) = Self::assemble(config, log, machine, transport)?;
        Ok((node, Stepped::new(driver, inputs)))
    }

    fn assemble(
        config: RaftConfig,
        mut log: Box<dyn LogStore>,
        mut machine: Box<dyn StateMachine>,
        transport: Arc<dyn Transport>,
    ) -> Result<(Self, Driver, mpsc::Receiver<Input>), RaftError> {
        let recovered = recover(&config, log.as_mut())?;
        if !recovered.snapshot.is_empty() {
            let restored = machine.restore(&recovered.snapshot.data);
            restored.map_err(|error| RaftError::Restore(error.to_string()))?;
        }
        let member = Member::new(&config.member, &recovered)?;
        let (inbox, inputs) = mpsc::channel();
        let inbox = Arc::new(inbox);
        let (status, watcher) = watch::channel(Status::of(&member, false));
        let gauges = Arc::new(Gauges::default());
        let (index, bytes) = (position(&recovered.snapshot).index, member.window_bytes());
        let snapshots = Snapshots::new(Arc::downgrade(&inbox), index, bytes);
        let driver =
            Driver::new(config, member, snapshots, log, machine, transport, status, gauges.clone());
        let shared = Shared { inbox, status: watcher, gauges, thread: Mutex::default() };
        Ok((Self { shared: Arc::new(shared) }, driver, inputs))
    }

    /// Proposes an entry. The receiver tells its index once it is committed and applied here, or why not.
    pub fn propose(&self, data: Vec<u8>) -> oneshot::Receiver<Result<u64, RaftError>> {
        let (done, answer) = answer();
        self.ask(|done| Input::Propose { data, done }, done);
        answer
    }

    /// Proposes an entry for the state machine itself, which learns the outcome as [`super::Committed::ticket`], or
    /// by [`super::Leadership::Lost`]. Entries reach the log in the order of the calls.
    ///
    /// # Errors
    /// [`RaftError::Stopped`]; nothing was queued then.
    pub fn submit(&self, data: Vec<u8>, ticket: u64) -> Result<(), RaftError> {
        let epoch = self.shared.gauges.epoch.load(Ordering::Acquire);
        self.put(Input::Submit { data, ticket, epoch })
    }

    /// Proposes a change of membership; one at a time.
    pub fn propose_change(
        &self,
        change: MemberChange,
    ) -> oneshot::Receiver<Result<u64, RaftError>> {
        let (kind, id, context) = match change {
            MemberChange::Added { id, context } => (ConfChangeType::AddNode, id, context),
            MemberChange::AddedLearner { id, context } => {
                (ConfChangeType::AddLearnerNode, id, context)
            }
            MemberChange::Updated { id, context } => (ConfChangeType::AddNode, id, context),
            MemberChange::Removed { id } => (ConfChangeType::RemoveNode, id, Vec::new()),
        };
        let (done, answer) = answer();
        self.ask(|done| Input::Change { kind, id, context, done }, done);
        answer
    }

    /// Tells the index that a linearizable read may be served at, once it is applied here.
    pub fn read_index(&self) -> oneshot::Receiver<Result<u64, RaftError>> {
        let (done, answer) = answer();
        self.ask(|done| Input::Read { done }, done);
        answer
    }

    /// Takes a snapshot and compacts the log now; the receiver tells the snapshot's index.
    pub fn snapshot(&self) -> oneshot::Receiver<Result<u64, RaftError>> {
        let (done, answer) = answer();
        self.ask(|done| Input::Snapshot { done }, done);
        answer
    }

    /// Captures the whole state as applied here, and its place in the log; encoding it is the caller's work, and stops
    /// nothing. After [`RaftNode::read_index`] it holds all that was acknowledged before.
    pub fn capture(&self) -> oneshot::Receiver<(Position, Capture)> {
        let (sender, receiver) = oneshot::channel();
        // A caller that has gone needs no answer; a stopped member drops the sender, which tells that.
        let done = Box::new(move |at, capture| drop(sender.send((at, capture))));
        let _ = self.put(Input::Capture { done });
        receiver
    }

    /// Writes snapshot and log anew, so that on disk nothing is left of what the sealer sealed before; the receiver
    /// tells the snapshot's index.
    pub fn reseal(&self) -> oneshot::Receiver<Result<u64, RaftError>> {
        let (done, answer) = answer();
        self.ask(|done| Input::Reseal { done }, done);
        answer
    }

    /// Hands an encoded `raftpb.Message` of another member to this one.
    ///
    /// # Errors
    /// [`RaftError::BadMessage`], [`RaftError::Busy`] or [`RaftError::Stopped`].
    pub fn step(&self, message: &[u8]) -> Result<(), RaftError> {
        let message = Box::new(wire::decode(message)?);
        let waiting = &self.shared.gauges.messages;
        if waiting.fetch_add(1, Ordering::Relaxed) >= MESSAGES_WAITING_MAX {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(RaftError::Busy);
        }
        self.put(Input::Message(message))
    }

    /// Hands leadership to `to`; [`RaftNode::watch`] tells when it has moved.
    ///
    /// # Errors
    /// [`RaftError::Stopped`].
    pub fn transfer_leadership(&self, to: u64) -> Result<(), RaftError> {
        self.put(Input::Transfer { to })
    }

    /// Asks for an election now: the leader is known to be gone.
    ///
    /// # Errors
    /// [`RaftError::Stopped`].
    pub fn campaign(&self) -> Result<(), RaftError> {
        self.put(Input::Campaign)
    }

    /// The transport could not reach `peer`.
    ///
    /// # Errors
    /// [`RaftError::Stopped`].
    pub fn report_unreachable(&self, peer: u64) -> Result<(), RaftError> {
        self.put(Input::Unreachable { peer })
    }

    /// The transport has sent a snapshot to `peer`, or failed to.
    ///
    /// # Errors
    /// [`RaftError::Stopped`].
    pub fn report_snapshot(&self, peer: u64, sent: bool) -> Result<(), RaftError> {
        self.put(Input::SnapshotSent { peer, sent })
    }

    /// The member's view of the group now.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// The member's view, marked as changed whenever leader, term, role, members or life change; progress alone
    /// updates it silently.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.clone()
    }

    /// Ends the member and waits until its log is closed. Never call it from the state machine.
    pub fn shutdown(&self) {
        // A thread that has ended already is what is wanted.
        let _ = self.put(Input::Shutdown);
        let thread = self.thread().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the raft thread panicked");
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, input: Input) -> Result<(), RaftError> {
        self.shared.inbox.send(input).map_err(|_| RaftError::Stopped)
    }

    fn ask(&self, input: impl FnOnce(Done) -> Input, done: Done) {
        // A stopped member drops the input, and with it the sender: the receiver tells that.
        let _ = self.put(input(done));
    }
}

fn answer() -> (Done, oneshot::Receiver<Result<u64, RaftError>>) {
    let (sender, receiver) = oneshot::channel();
    // A caller that has gone needs no answer.
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

/// What the log holds, after founding the group, or a new one, where that is asked for.
fn recover(config: &RaftConfig, log: &mut dyn LogStore) -> Result<Recovered, RaftError> {
    let mut recovered = log.recover()?;
    if config.must_go_on && recovered.is_empty() {
        return Err(LogError::Missing { dir: config.dir.clone() }.into());
    }
    if let Some(seed) = config.seed.as_ref().filter(|_| recovered.is_empty()) {
        reform::plant(log, config.member.id, seed)?;
        recovered = log.recover()?;
    }
    if let Some(context) = &config.reform {
        let Reform { entries, hard_state } =
            reform::plan(&recovered, config.member.id, context.clone())?;
        let hard_state = Some(&hard_state);
        log.write(LogBatch { entries: &entries, hard_state, ..LogBatch::default() })?;
        return Ok(log.recover()?);
    }
    if !recovered.is_empty() || config.founders.is_empty() {
        return Ok(recovered);
    }
    let (entries, state) = wire::founding_log(&config.founders);
    log.write(LogBatch { entries: &entries, hard_state: Some(&state), ..LogBatch::default() })?;
    Ok(log.recover()?)
}

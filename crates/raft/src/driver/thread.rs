//! One turn of a member: takes what waits, lets the core decide, carries out its orders. [`Driver::run`] is the raft
//! thread; a simulation takes the turns itself, by [`super::stepped`].

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use raft::eraftpb::{ConfChangeType, Entry, EntryType, HardState, Message, MessageType, Snapshot};
use tokio::sync::watch;

use super::inbox::Input;
use super::node::Gauges;
use super::outstanding::{Proposals, Reads, Waiter};
use super::snapshots::Snapshots;
use super::{
    Committed, Leadership, MemberChange, Outgoing, RaftConfig, StateMachine, Status, Transport,
};
use crate::core::{Change, Command, Member, Persist};
use crate::error::RaftError;
use crate::log::{LogBatch, LogStore, Position, position};
use crate::wire;

/// Inputs taken before the log is written: so that a flush is not put off for ever under load.
const BATCH_MAX: usize = 1024;

/// A submission that the leader could not append yet.
type Held = (Vec<u8>, u64, u64);

/// An error with all that caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A member at work: the thread's state.
pub(super) struct Driver {
    config: RaftConfig,
    member: Member,
    log: Box<dyn LogStore>,
    machine: Box<dyn StateMachine>,
    transport: Arc<dyn Transport>,
    status: watch::Sender<Status>,
    gauges: Arc<Gauges>,
    proposals: Proposals,
    reads: Reads,
    held: VecDeque<Held>,
    /// The term in which this member leads.
    leading: Option<u64>,
    /// Whether the state machine knows that.
    serving: bool,
    /// A hard state that may wait for the next flush.
    unflushed: Option<HardState>,
    ticks: u64,
    snapshots: Snapshots,
}

impl Driver {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, by the handle that has just made each of them"
    )]
    pub(super) fn new(
        config: RaftConfig,
        member: Member,
        snapshots: Snapshots,
        log: Box<dyn LogStore>,
        machine: Box<dyn StateMachine>,
        transport: Arc<dyn Transport>,
        status: watch::Sender<Status>,
        gauges: Arc<Gauges>,
    ) -> Self {
        Self {
            config,
            member,
            log,
            machine,
            transport,
            status,
            gauges,
            proposals: Proposals::default(),
            reads: Reads::default(),
            held: VecDeque::new(),
            leading: None,
            serving: false,
            unflushed: None,
            ticks: 0,
            snapshots,
        }
    }

    /// Snapshots are taken by the turn that begins them.
    pub(super) fn take_snapshots_inline(&mut self) {
        self.snapshots.is_inline = true;
    }

    /// The raft thread.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        // A panic of the algorithm's, which asserts its invariants, ends the member as any failure does.
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(inputs)));
        let served = served.unwrap_or_else(|panic| Err(RaftError::panicked(panic.as_ref())));
        self.stop(&served);
    }

    fn serve(&mut self, inputs: &Receiver<Input>) -> Result<(), RaftError> {
        self.begin()?;
        let mut next_tick = Instant::now() + self.config.tick;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let first = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            };
            if !self.take_all(first.into_iter().chain(inputs.try_iter().take(BATCH_MAX)))? {
                return Ok(());
            }
            if Instant::now() >= next_tick {
                self.tick();
                // After a stall time goes on from now: a burst of ticks would start needless elections.
                next_tick = Instant::now() + self.config.tick;
            }
            self.settle()?;
        }
    }

    /// What comes before the first input. A member that is alone leads at once.
    pub(super) fn begin(&mut self) -> Result<(), RaftError> {
        self.pump()?;
        if self.member.is_alone() {
            self.member.campaign();
            self.pump()?;
        }
        Ok(())
    }

    /// Takes these inputs; whether the member goes on.
    pub(super) fn take_all(
        &mut self,
        inputs: impl Iterator<Item = Input>,
    ) -> Result<bool, RaftError> {
        for input in inputs {
            if matches!(input, Input::Shutdown) {
                return self.flush().map(|()| false);
            }
            self.take(input)?;
        }
        Ok(true)
    }

    /// A tick has passed.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.member.tick();
    }

    /// Carries out what follows from inputs and ticks.
    pub(super) fn settle(&mut self) -> Result<(), RaftError> {
        self.append_held();
        self.pump()
    }

    /// The member ends, with this result.
    pub(super) fn stop(&mut self, result: &Result<(), RaftError>) {
        let raft_id = self.member.id();
        let failure = match result {
            Ok(()) => {
                tracing::debug!(raft.id = raft_id, "raft member stopped");
                None
            }
            Err(error) => {
                let causes = causes(error);
                tracing::error!(raft.id = raft_id, error = causes, "raft member failed");
                Some(causes)
            }
        };
        self.proposals.fail(|| RaftError::Stopped);
        self.reads.fail();
        if self.serving {
            self.machine.leadership(Leadership::Lost);
        }
        self.status.send_modify(|status| {
            status.serving = false;
            status.leader = None;
            status.stopped = true;
            status.failure = failure;
        });
        self.snapshots.stop();
    }

    fn take(&mut self, input: Input) -> Result<(), RaftError> {
        match input {
            Input::Propose { data, done } => match self.member.propose(data) {
                Ok(position) => self.proposals.push(position, Waiter::Caller(done)),
                Err(error) => done(Err(error)),
            },
            Input::Submit { data, ticket, epoch } => self.submit(data, ticket, epoch),
            Input::Change { kind, id, context, done } => {
                match self.member.propose_change(kind, id, context) {
                    Ok(position) => self.proposals.push(position, Waiter::Caller(done)),
                    Err(error) => done(Err(error)),
                }
            }
            Input::Message(message) => {
                self.gauges.messages.fetch_sub(1, Ordering::Relaxed);
                self.member.must_have(&message)?;
                self.member.step(*message);
            }
            Input::Read { done } => {
                let tick_max = self.ticks + self.config.member.election_ticks as u64;
                let context = self.reads.ask(tick_max, done);
                self.member.read_index(context);
            }
            Input::Transfer { to } => self.member.transfer_leader(to),
            Input::Campaign => self.member.campaign(),
            Input::Unreachable { peer } => self.member.report_unreachable(peer),
            Input::SnapshotSent { peer, sent } => self.member.report_snapshot(peer, sent),
            Input::Snapshot { done } => {
                self.pump()?;
                self.snapshots.ask(self.member.applied_index(), done);
            }
            Input::Capture { done } => {
                self.pump()?;
                let head = self.member.snapshot_of(Vec::new());
                done(position(&head), self.machine.snapshot());
            }
            Input::Reseal { done } => {
                self.pump()?;
                self.snapshots.ask_reseal(done);
            }
            Input::SnapshotMade(made) => {
                if let Some(snapshot) = self.snapshots.ended(*made) {
                    self.compact(snapshot)?;
                }
            }
            // Handled by the caller.
            Input::Shutdown => {}
        }
        Ok(())
    }

    fn submit(&mut self, data: Vec<u8>, ticket: u64, epoch: u64) {
        self.held.push_back((data, ticket, epoch));
        if self.held.len() == 1 {
            self.append_held();
        }
    }

    /// Appends what was submitted, in order, as far as the leader takes it. What an earlier leadership submitted
    /// goes: the state machine was told that it is lost.
    fn append_held(&mut self) {
        while let Some((data, ticket, epoch)) = self.held.pop_front() {
            if epoch != self.gauges.epoch.load(Ordering::Relaxed)
                || !self.member.is_leader()
                || !self.serving
            {
                continue;
            }
            match self.member.propose(data.clone()) {
                Ok(position) => self.proposals.push(position, Waiter::Ticket(ticket)),
                Err(_) => {
                    // It hands over, or too much is uncommitted: both pass, or leadership does.
                    self.held.push_front((data, ticket, epoch));
                    return;
                }
            }
        }
    }

    /// Carries out orders until the core waits, then tells and tidies up.
    fn pump(&mut self) -> Result<(), RaftError> {
        loop {
            self.note_leadership();
            let commands = self.member.ready();
            if commands.is_empty() {
                break;
            }
            for command in commands {
                self.carry_out(command)?;
            }
        }
        self.reads.settle(self.member.applied_index(), self.ticks);
        if self.snapshots.is_due(self.member.applied_index(), &self.config) {
            // The body comes later; index, term and members are those of the state captured here.
            let head = self.member.snapshot_of(Vec::new());
            self.snapshots.begin(head, self.machine.snapshot(), self.log.snapshot_writer());
        }
        let next = Status::of(&self.member, self.serving);
        self.status.send_if_modified(|status| {
            let news = status.is_news(&next);
            *status = next;
            news
        });
        Ok(())
    }

    fn carry_out(&mut self, command: Command) -> Result<(), RaftError> {
        match command {
            Command::Send(messages) => self.transport.send(messages.iter().map(outgoing).collect()),
            Command::Persist(persist) => self.persist(persist)?,
            Command::Restore(snapshot) => self.restore(&snapshot)?,
            Command::Apply(entries) => self.apply(&entries)?,
            Command::Membership { index, change } => self.change(index, *change),
            Command::Read { context, index } => self.reads.confirm(&context, index),
            Command::MakeSnapshot => self.snapshots.is_wanted = true,
        }
        Ok(())
    }

    fn persist(&mut self, mut persist: Persist) -> Result<(), RaftError> {
        persist.hard_state = persist.hard_state.or_else(|| self.unflushed.take());
        if persist.must_sync {
            self.log.write(persist.batch())?;
            self.unflushed = None;
        } else {
            self.unflushed = persist.hard_state.take();
        }
        self.snapshots.grow(persist.entries.iter().map(|entry| entry.data.len() as u64).sum());
        self.member.persisted(persist.number);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RaftError> {
        let hard_state = self.unflushed.take();
        if hard_state.is_some() {
            self.log.write(LogBatch { hard_state: hard_state.as_ref(), ..LogBatch::default() })?;
        }
        Ok(())
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), RaftError> {
        let restored = self.machine.restore(&snapshot.data);
        restored.map_err(|error| RaftError::Restore(error.to_string()))?;
        let index = position(snapshot).index;
        self.snapshots.replaced(index);
        self.member.applied(index);
        Ok(())
    }

    fn apply(&mut self, entries: &[Entry]) -> Result<(), RaftError> {
        let Some(last) = entries.last() else { return Ok(()) };
        for entry in entries {
            let waiter = self.proposals.take(Position { index: entry.index, term: entry.term });
            let ticket = match &waiter {
                Some(Waiter::Ticket(ticket)) => Some(*ticket),
                _ => None,
            };
            // A leader's first entry is empty, and the core applies changes of membership.
            if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
                let committed =
                    Committed { index: entry.index, term: entry.term, data: &entry.data, ticket };
                self.machine
                    .apply(committed)
                    .map_err(|source| RaftError::Apply { index: entry.index, source })?;
            }
            if let Some(Waiter::Caller(done)) = waiter {
                done(Ok(entry.index));
            }
        }
        self.member.applied(last.index);
        if !self.serving && self.leading == Some(last.term) && self.member.is_leader() {
            self.serving = true;
            // The order matters: see `Gauges::epoch`.
            self.gauges.epoch.fetch_add(1, Ordering::Release);
            self.machine.leadership(Leadership::Gained { index: last.index });
        }
        Ok(())
    }

    fn change(&mut self, index: u64, change: Change) {
        let (id, context) = (change.change.node_id, change.change.context.to_vec());
        let change = match change.change.get_change_type() {
            ConfChangeType::AddNode => MemberChange::Added { id, context },
            ConfChangeType::AddLearnerNode => MemberChange::AddedLearner { id, context },
            ConfChangeType::RemoveNode => MemberChange::Removed { id },
        };
        self.machine.membership(index, change);
    }

    /// Notices that leadership came or went; a term has one leader, so the term tells them apart.
    fn note_leadership(&mut self) {
        let leading = self.member.is_leader().then(|| self.member.term());
        if leading == self.leading {
            return;
        }
        if self.leading.is_some() {
            self.proposals.fail(|| RaftError::LeadershipLost);
        }
        if std::mem::take(&mut self.serving) {
            self.machine.leadership(Leadership::Lost);
        }
        tracing::info!(raft.id = self.member.id(), from = ?self.leading, to = ?leading, "leading in term");
        self.leading = leading;
    }

    /// Names a snapshot that was written in the log, drops what lies behind it, and hands it to whoever waits.
    fn compact(&mut self, snapshot: Snapshot) -> Result<(), RaftError> {
        let index = position(&snapshot).index;
        let is_whole = self.snapshots.is_reseal();
        if self.snapshots.is_new(index) || is_whole {
            let RaftConfig { keep_entries, keep_bytes, .. } = self.config;
            let surplus = self.member.surplus(index, keep_entries, keep_bytes);
            let compact = Some(self.member.compact(surplus));
            let hard_state = self.unflushed.take();
            let entries = if is_whole { self.member.window_entries() } else { Vec::new() };
            self.log.write(LogBatch {
                entries: &entries,
                hard_state: hard_state.as_ref(),
                snapshot: Some(&snapshot),
                compact,
                is_whole,
            })?;
            self.snapshots.recorded(index);
            self.snapshots.resealed();
        }
        if std::mem::take(&mut self.snapshots.is_wanted) {
            self.member.offer_snapshot(snapshot);
        }
        Ok(())
    }
}

fn outgoing(message: &Message) -> Outgoing {
    Outgoing {
        to: message.to,
        body: wire::encode(message),
        is_snapshot: message.get_msg_type() == MessageType::MsgSnapshot,
    }
}

//! A manager: the real Raft member and store over a simulated disk and network, and its duties while it leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use swarm_raft::{
    MemberChange, Members, Outgoing, RaftConfig, RaftError, RaftNode, RaftProposer, StateMachine,
    Status, Stepped, StoreMachine, Transport,
};
use swarm_store::{Error, Kind, Store, Tables, Transaction, Watch};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::checks::Mark;
use crate::clock;
use crate::disk::Disk;
use crate::env::{Answer, Call, Effect, Env, Outcome};
use crate::group::Peers;
use crate::net::ConnId;
use crate::seat::Seat;
use crate::term::Term;

/// A turn gives rise to others as long as something is proposed; more of them than this never end.
const TURNS_MAX: usize = 1000;

/// A machine that runs a manager, or ran one.
pub(crate) struct Manager {
    pub(crate) id: u64,
    pub(crate) disk: Disk,
    /// How far its clock is ahead, in milliseconds.
    pub(crate) ahead_ms: i64,
    pub(crate) boot: u64,
    /// Whether the machine runs, with or without a manager.
    pub(crate) is_up: bool,
    pub(crate) seat: Seat,
    pub(crate) process: Option<Process>,
}

/// The manager's process.
pub(crate) struct Process {
    id: u64,
    node: RaftNode,
    stepped: Stepped,
    store: Store,
    watch: Watch,
    members: Members,
    /// When each other member was last heard of.
    heard: BTreeMap<u64, Duration>,
    outbox: Outbox,
    term: Option<Term>,
    requests: Vec<Request>,
    reads: Vec<Read>,
}

/// A linearizable read that waits for its index.
struct Read {
    mark: Mark,
    index: oneshot::Receiver<Result<u64, RaftError>>,
}

/// A client's request whose commit is awaited.
struct Request {
    number: u64,
    term: u64,
    committed: oneshot::Receiver<Result<(), Error>>,
}

/// Where the member leaves its messages.
#[derive(Clone, Default)]
struct Outbox(Arc<Mutex<Vec<Outgoing>>>);

impl Transport for Outbox {
    fn send(&self, messages: Vec<Outgoing>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(messages);
    }
}

impl Outbox {
    fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Manager {
    pub(crate) fn new(id: u64, env: &Env, seat: Seat) -> Self {
        let disk = Disk::new(env.options.bug);
        Self { id, disk, ahead_ms: 0, boot: 0, is_up: true, seat, process: None }
    }

    /// Starts the process over what the disk holds.
    pub(crate) fn start(&mut self, env: &mut Env, mut config: RaftConfig) -> Result<(), RaftError> {
        clock::set(env.now, self.ahead_ms);
        self.boot += 1;
        config.member.election_seed = Some(env.random.seed());
        let proposer = Arc::new(RaftProposer::default());
        let store = Store::with_clock(proposer.clone(), clock::now);
        let watch = store.watch(Kind::ALL);
        let (outbox, members) = (Outbox::default(), Members::default());
        let machine: Box<dyn StateMachine> =
            Box::new(StoreMachine::new(store.clone(), members.clone()));
        let id = config.member.id;
        let machine = env.checks.log.watch(id, machine, store.clone(), members.clone());
        let log = self.disk.open()?;
        let (node, mut stepped) =
            RaftNode::stepped(config, log, machine, Arc::new(outbox.clone()))?;
        proposer.attach(node.clone());
        stepped.begin()?;
        self.process = Some(Process {
            id,
            node,
            stepped,
            store,
            watch,
            members,
            heard: BTreeMap::new(),
            outbox,
            term: None,
            requests: Vec::new(),
            reads: Vec::new(),
        });
        env.note(format_args!("manager {id} starts ({})", self.boot));
        Ok(())
    }
}

impl Process {
    /// Everything that can be done now.
    pub(crate) fn work(
        &mut self,
        env: &mut Env,
        ahead_ms: i64,
        ticked: bool,
    ) -> Result<(), RaftError> {
        clock::set(env.now, ahead_ms);
        let mut ticked = ticked;
        for _ in 0..TURNS_MAX {
            self.stepped.turn(std::mem::take(&mut ticked))?;
            self.send(env);
            self.follow_store(env);
            self.follow_leadership(env);
            self.answer(env);
            self.answer_reads(env);
            let is_busy = match &mut self.term {
                Some(term) => {
                    let (node, members, heard) = (&self.node, &self.members, &self.heard);
                    term.work(env, &self.store, &Peers { node, members, heard })
                }
                None => false,
            };
            if env.checks.violation().is_some() || !is_busy {
                return Ok(());
            }
        }
        env.checks.expect(Err(format!("turns end: manager {} never rests", self.id)));
        Ok(())
    }

    fn send(&mut self, env: &mut Env) {
        for Outgoing { to, body, is_snapshot } in self.outbox.take() {
            env.effects.push(Effect::Raft { from: self.id, to, body, is_snapshot });
        }
    }

    fn follow_store(&mut self, env: &mut Env) {
        while let Some(commit) = self.watch.next().now_or_never() {
            env.checks.commit(self.id, &commit);
            if let Some(term) = &mut self.term {
                term.observe(env, &commit);
            }
        }
    }

    /// Duties begin and end with the leadership.
    fn follow_leadership(&mut self, env: &mut Env) {
        let status = self.node.status();
        let seen = env.checks.leaders.see(&status);
        env.checks.expect(seen);
        let leads = status.serving.then_some(status.term);
        if self.term.as_ref().map(Term::number) == leads {
            return;
        }
        if let Some(term) = self.term.take() {
            env.note(format_args!("manager {} no longer leads", self.id));
            term.end(env);
        }
        if let Some(number) = leads {
            let tables = self.store.view();
            env.note(format_args!(
                "manager {} leads term {number} at {} with {} tasks",
                self.id,
                status.applied,
                tables.len::<swarm_proto::v1::Task>()
            ));
            let kept = env.checks.acknowledged.check(number, &tables);
            env.checks.expect(kept);
            self.term = Some(Term::begin(env, self.id, number, &self.store));
        }
    }

    /// Tells clients what became of their requests.
    fn answer(&mut self, env: &mut Env) {
        self.requests.retain_mut(|request| {
            let outcome = match request.committed.try_recv() {
                Err(TryRecvError::Empty) => return true,
                Ok(Ok(())) => Outcome::Acknowledged { term: request.term },
                Ok(Err(_)) | Err(TryRecvError::Closed) => Outcome::Unknown,
            };
            env.effects.push(Effect::Done { request: request.number, outcome });
            false
        });
    }

    /// What a read finds must not be older than what was acknowledged when it began.
    fn answer_reads(&mut self, env: &mut Env) {
        let tables = self.store.view();
        self.reads.retain_mut(|read| match read.index.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(Ok(_)) => {
                let seen = env.checks.acknowledged.check_read(&read.mark, &tables);
                env.checks.reads += 1;
                env.checks.expect(seen);
                false
            }
            _ => false,
        });
    }

    /// A client's read, of any member.
    pub(crate) fn read(&mut self, env: &mut Env) {
        let (mark, index) = (env.checks.acknowledged.mark(), self.node.read_index());
        self.reads.push(Read { mark, index });
    }

    /// A client's request for a transaction.
    pub(crate) fn request(
        &mut self,
        env: &mut Env,
        number: u64,
        transact: impl FnOnce(&mut Transaction<'_>) -> Result<(), Error>,
    ) {
        let term = self.node.status().term;
        match self.store.propose(transact) {
            Ok(((), Some(committed))) => self.requests.push(Request { number, term, committed }),
            Ok(((), None)) | Err(_) => {
                env.effects.push(Effect::Done { request: number, outcome: Outcome::Refused });
            }
        }
    }

    /// An agent's call.
    pub(crate) fn call(&mut self, env: &mut Env, conn: ConnId, node_id: &str, call: Call) {
        match &mut self.term {
            Some(term) => term.call(env, &self.store, conn, node_id, call),
            None => {
                let answer = Answer::Refused("dispatcher is stopped".to_owned());
                env.effects.push(Effect::Answer { conn, answer });
            }
        }
    }

    /// A connection has broken.
    pub(crate) fn conn_lost(&mut self, env: &mut Env, conn: ConnId) {
        if let Some(term) = &mut self.term {
            term.conn_lost(env, conn);
        }
    }

    /// A message of another member.
    pub(crate) fn step(&mut self, now: Duration, from: u64, message: &[u8]) {
        self.heard.insert(from, now);
        // A member that has stopped, or is behind, drops it: Raft repeats what matters.
        let _ = self.node.step(message);
    }

    pub(crate) fn snapshot_sent(&mut self, peer: u64, sent: bool) {
        let _ = self.node.report_snapshot(peer, sent);
    }

    pub(crate) fn transfer(&mut self, to: u64) {
        let _ = self.node.transfer_leadership(to);
    }

    /// Changes the membership.
    pub(crate) fn change(
        &mut self,
        change: MemberChange,
    ) -> oneshot::Receiver<Result<u64, RaftError>> {
        self.node.propose_change(change)
    }

    /// Whether the others would have a quorum without this member.
    pub(crate) fn can_remove(&self, now: Duration, raft_id: u64) -> bool {
        let (node, members, heard) = (&self.node, &self.members, &self.heard);
        Peers { node, members, heard }.can_remove(now, raft_id)
    }

    /// Whether the log says that this member was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.members.is_removed(self.id)
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    pub(crate) fn raft_id(&self) -> u64 {
        self.id
    }

    pub(crate) fn store(&self) -> Store {
        self.store.clone()
    }

    pub(crate) fn status(&self) -> Status {
        self.node.status()
    }

    pub(crate) fn tables(&self) -> Tables {
        self.store.view()
    }
}

//! The dispatcher's shell: the real core, assignment sets and batches, with simulated connections instead of gRPC.
//! What it does in which order is that of `swarm_dispatcher`'s service, leadership and writer.

use std::collections::BTreeMap;

use swarm_dispatcher::{
    AssignmentSet, Batch, Command, Core, Event, KnownNode, News, NodeUpdate, Registration,
    Sequence, Timing,
};
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::update_task_status_request::TaskStatusUpdate;
use swarm_proto::v1::{Node, NodeDescription, Task};
use swarm_store::{Commit, Error, Store};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::env::{Answer, Call, Effect, Env};
use crate::net::ConnId;
use crate::options::Bug;

/// As `swarm_dispatcher`'s own bound.
const CHANGES_PER_TRANSACTION_MAX: usize = 200;

/// One term's dispatcher.
pub(crate) struct Dispatcher {
    core: Core,
    applied_by: String,
    sessions: BTreeMap<ConnId, Session>,
    batch: Batch,
    waiters: Vec<Waiter>,
    writing: Option<Writing>,
    /// Statuses that the planted bug writes past the batch.
    raw: Vec<TaskStatusUpdate>,
}

struct Session {
    node_id: String,
    session_id: String,
    /// What the node was sent, once it asked for assignments.
    sent: Option<(AssignmentSet, Sequence)>,
    is_touched: bool,
}

/// Who waits for a commit, and what he is told then.
struct Waiter {
    conn: ConnId,
    answer: Answer,
}

struct Writing {
    committed: Option<oneshot::Receiver<Result<(), Error>>>,
    waiters: Vec<Waiter>,
}

impl Dispatcher {
    pub(crate) fn begin(env: &mut Env, manager: u64, store: &Store) -> Self {
        let applied_by = format!("m{manager}");
        let mut dispatcher = Self {
            core: Core::new(Timing::default(), &applied_by, env.random.seed()),
            applied_by,
            sessions: BTreeMap::new(),
            batch: Batch::default(),
            waiters: Vec::new(),
            writing: None,
            raw: Vec::new(),
        };
        let down = State::Down as i32;
        let known = |node: &std::sync::Arc<Node>| KnownNode {
            node_id: node.id.clone(),
            is_down: node.status.as_ref().is_some_and(|status| status.state == down),
            is_swift: node.status.as_ref().is_some_and(|status| status.swift),
        };
        let nodes = store.view().iter::<Node>().map(known).collect();
        dispatcher.step(env, Event::Lead(nodes));
        dispatcher
    }

    pub(crate) fn end(self, env: &mut Env) {
        env.effects.extend(self.sessions.into_keys().map(|conn| Effect::Close { conn }));
    }

    /// Gives the core an event and does what it commands; the command that answers, if any.
    fn step(&mut self, env: &mut Env, event: Event) -> Option<Command> {
        let mut answer = None;
        for command in self.core.step(env.instant(), event) {
            match command {
                Command::Accept { .. } | Command::Beat(_) | Command::Refuse(_) => {
                    answer = Some(command);
                }
                Command::CloseSession { session_id, .. } => self.close(env, &session_id),
                Command::SetState { node_id, state, message } => {
                    env.note(format_args!("{} finds {node_id} {state:?}", self.applied_by));
                    let message = message.to_owned();
                    let update = NodeUpdate {
                        state,
                        message,
                        addr: None,
                        description: None,
                        is_swift: None,
                    };
                    self.batch.set_node(node_id, update);
                }
                Command::OrphanTasks { node_id } => self.batch.orphan_tasks(node_id),
            }
        }
        answer
    }

    fn close(&mut self, env: &mut Env, session_id: &str) {
        let closed = self.sessions.extract_if(.., |_, session| session.session_id == session_id);
        env.effects.extend(closed.map(|(conn, _)| Effect::Close { conn }));
    }

    pub(crate) fn call(
        &mut self,
        env: &mut Env,
        store: &Store,
        conn: ConnId,
        node_id: &str,
        call: Call,
    ) {
        let answer = match call {
            Call::Session { session_id } => self.register(env, store, conn, node_id, session_id),
            Call::Heartbeat { session_id } => {
                let node_id = node_id.to_owned();
                match self.step(env, Event::Heartbeat { node_id, session_id }) {
                    Some(Command::Beat(period)) => Some(Answer::Beat(period)),
                    other => Some(refused(other)),
                }
            }
            Call::Assignments { session_id } => match self.core.check(node_id, &session_id) {
                Ok(()) => {
                    let whose = self.whose_assignments(env, node_id);
                    if let Some(session) = self.sessions.get_mut(&conn) {
                        session.sent = Some((AssignmentSet::new(&whose), Sequence::default()));
                        session.is_touched = true;
                    }
                    None
                }
                Err(error) => Some(Answer::Refused(error.to_string())),
            },
            Call::Statuses { session_id, updates } => match self.core.check(node_id, &session_id) {
                Ok(()) => self.report(env, store, conn, node_id, updates),
                Err(error) => Some(Answer::Refused(error.to_string())),
            },
        };
        if let Some(answer) = answer {
            env.effects.push(Effect::Answer { conn, answer });
        }
    }

    /// The node's own, but for the planted bug.
    fn whose_assignments(&self, env: &mut Env, node_id: &str) -> String {
        if env.options.bug == Some(Bug::SendToWrongNode) && env.random.chance(200) {
            let sessions = self.sessions.values().map(|session| session.node_id.as_str());
            let others: Vec<&str> = sessions.filter(|other| *other != node_id).collect();
            return env.random.pick(&others).unwrap_or(node_id).to_owned();
        }
        node_id.to_owned()
    }

    fn register(
        &mut self,
        env: &mut Env,
        store: &Store,
        conn: ConnId,
        node_id: &str,
        session_id: String,
    ) -> Option<Answer> {
        if store.view().get::<Node>(node_id).is_none() {
            return Some(Answer::Refused("node not found".to_owned()));
        }
        let registration = Registration {
            node_id: node_id.to_owned(),
            session_id,
            fresh_session_id: env.random.id(),
            stream: conn,
            is_swift: true,
        };
        let session_id = match self.step(env, Event::Register(registration)) {
            Some(Command::Accept { session_id, .. }) => session_id,
            other => return Some(refused(other)),
        };
        env.note(format_args!("{} registers {node_id}", self.applied_by));
        let description =
            Some(NodeDescription { hostname: node_id.to_owned(), ..NodeDescription::default() });
        let ready = NodeUpdate {
            state: State::Ready,
            message: String::new(),
            addr: None,
            description,
            is_swift: Some(true),
        };
        self.batch.set_node(node_id.to_owned(), ready);
        let session = Session {
            node_id: node_id.to_owned(),
            session_id: session_id.clone(),
            sent: None,
            is_touched: false,
        };
        self.sessions.insert(conn, session);
        self.waiters.push(Waiter { conn, answer: Answer::Session { session_id } });
        None
    }

    fn report(
        &mut self,
        env: &mut Env,
        store: &Store,
        conn: ConnId,
        node_id: &str,
        updates: Vec<TaskStatusUpdate>,
    ) -> Option<Answer> {
        let tables = store.view();
        for update in updates {
            let is_his = |task: &&std::sync::Arc<Task>| task.node_id == node_id;
            let known = tables.get::<Task>(&update.task_id).filter(is_his);
            let (Some(_), Some(status)) = (known, update.status.clone()) else { continue };
            let bug = env.options.bug;
            if bug == Some(Bug::DropStatus) && env.random.chance(20) {
                env.note(format_args!("a status of {} is dropped", update.task_id));
                continue;
            }
            if bug == Some(Bug::StatusGoesBack) {
                self.raw.push(update);
                continue;
            }
            self.batch.report_task(update.task_id, status);
        }
        self.waiters.push(Waiter { conn, answer: Answer::StatusesTaken });
        None
    }

    pub(crate) fn conn_lost(&mut self, env: &mut Env, conn: ConnId) {
        if let Some(session) = self.sessions.remove(&conn) {
            self.step(env, Event::StreamEnded { node_id: session.node_id, stream: conn });
        }
    }

    /// Time passes, batches are written, streams are served; whether something was proposed.
    pub(crate) fn work(&mut self, env: &mut Env, store: &Store) -> bool {
        if self.core.wakeup().is_some_and(|at| at <= env.instant()) {
            self.step(env, Event::Tick);
        }
        let proposed = self.write(env, store);
        self.serve(env, store);
        proposed
    }

    /// One transaction at a time, everything that came in meanwhile in the next.
    fn write(&mut self, env: &mut Env, store: &Store) -> bool {
        if let Some(writing) = &mut self.writing {
            match writing.committed.as_mut().map_or(Ok(Ok(())), oneshot::Receiver::try_recv) {
                Err(TryRecvError::Empty) => return false,
                Ok(Ok(())) => {
                    for Waiter { conn, answer } in std::mem::take(&mut writing.waiters) {
                        env.effects.push(Effect::Answer { conn, answer });
                    }
                    self.writing = None;
                }
                // Leadership is lost: the term ends.
                _ => return false,
            }
        }
        if self.batch.is_empty() && self.waiters.is_empty() && self.raw.is_empty() {
            return false;
        }
        let part = self.batch.take(CHANGES_PER_TRANSACTION_MAX);
        let raw = std::mem::take(&mut self.raw);
        let applied_by = &self.applied_by;
        let written = store.propose(|transaction| {
            part.apply(transaction, applied_by)?;
            raw.into_iter().try_for_each(|update| {
                let Some(task) = transaction.get::<Task>(&update.task_id) else { return Ok(()) };
                let task = Task { status: update.status, ..Task::clone(task) };
                transaction.update(task)
            })
        });
        match written {
            Ok(((), committed)) => {
                let waiters = std::mem::take(&mut self.waiters);
                self.writing = Some(Writing { committed, waiters });
                true
            }
            Err(error) => {
                env.note(format_args!("statuses could not be written: {error}"));
                false
            }
        }
    }

    /// Brings every stream up to date that a commit touched.
    fn serve(&mut self, env: &mut Env, store: &Store) {
        let tables = store.view();
        for (conn, session) in self.sessions.iter_mut().filter(|(_, session)| session.is_touched) {
            let Some((set, sequence)) = &mut session.sent else { continue };
            session.is_touched = false;
            for message in sequence.cut(set.reconcile(&tables)) {
                let answer = Answer::Assignments(Box::new(message));
                env.effects.push(Effect::Answer { conn: *conn, answer });
            }
        }
    }

    /// A commit is a hint which streams to look at, and tells which nodes are gone.
    pub(crate) fn observe(&mut self, env: &mut Env, commit: &Commit) {
        let news = News::of(commit);
        for node_id in news.removed {
            self.step(env, Event::NodeRemoved(node_id.to_owned()));
        }
        for session in self.sessions.values_mut() {
            let is_meant = news.is_for_all || news.touched.contains(session.node_id.as_str());
            session.is_touched |= is_meant;
        }
    }
}

fn refused(command: Option<Command>) -> Answer {
    match command {
        Some(Command::Refuse(error)) => Answer::Refused(error.to_string()),
        _ => Answer::Refused("dispatcher is stopped".to_owned()),
    }
}

//! A worker: a machine with an engine and task records, and the agent on it. Sessions follow `swarm_agent`'s; what an
//! agent does with its tasks is in `agent`.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_proto::v1::Task;
use swarm_proto::v1::assignments_message::Type;

use crate::agent::Agent;
use crate::engine::Engine;
use crate::env::{Answer, Call, Effect, Env, Timer};
use crate::net::ConnId;

/// As `swarm_agent`'s: a manager that does not answer in this time is given up.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A machine that runs an agent, or ran one.
pub(crate) struct Worker {
    pub(crate) id: u64,
    pub(crate) boot: u64,
    pub(crate) engine: Engine,
    /// The task records: replaced atomically, not flushed.
    pub(crate) records: BTreeMap<String, Task>,
    /// Records as they were before; a loss of power may bring them back.
    pub(crate) older: BTreeMap<String, Option<Task>>,
    pub(crate) agent: Option<Agent>,
    session: Option<Session>,
    /// The last session's, to resume it.
    session_id: String,
}

/// A session, from the registration on.
struct Session {
    conn: ConnId,
    is_registered: bool,
    /// The last assignments that were applied.
    applied: String,
    /// Counts heartbeats and registrations that wait for their answer.
    asked: u64,
    answered: u64,
}

impl Worker {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            boot: 0,
            engine: Engine::default(),
            records: BTreeMap::new(),
            older: BTreeMap::new(),
            agent: None,
            session: None,
            session_id: String::new(),
        }
    }

    pub(crate) fn node_id(&self) -> String {
        format!("w{}", self.id)
    }

    /// Starts the agent over the records that are there.
    pub(crate) fn start(&mut self, env: &mut Env) {
        self.boot += 1;
        self.session = None;
        self.session_id.clear();
        env.note(format_args!("worker {} starts ({})", self.id, self.boot));
        self.agent = Some(Agent::default());
        for task in self.records.values().cloned().collect::<Vec<_>>() {
            self.take_up(env, task);
        }
        self.timer(env, Duration::from_millis(10), Timer::Connect);
    }

    /// The agent ends; its containers and records stay.
    pub(crate) fn stop_agent(&mut self, env: &mut Env) {
        env.note(format_args!("worker {} loses its agent", self.id));
        self.agent = None;
        self.session = None;
    }

    /// The machine loses power: containers stop, and some records are as they were before.
    pub(crate) fn crash(&mut self, env: &mut Env) {
        env.note(format_args!("worker {} loses power", self.id));
        self.agent = None;
        self.session = None;
        self.engine.crash();
        for (id, older) in std::mem::take(&mut self.older) {
            if env.random.chance(500) {
                match older {
                    Some(task) => self.records.insert(id, task),
                    None => self.records.remove(&id),
                };
            }
        }
    }

    pub(crate) fn timer(&self, env: &mut Env, after: Duration, timer: Timer) {
        env.effects.push(Effect::Timer { worker: self.id, boot: self.boot, after, timer });
    }

    pub(crate) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// A connection was made: register.
    pub(crate) fn connected(&mut self, env: &mut Env, conn: ConnId) {
        let (is_registered, applied) = (false, String::new());
        self.session = Some(Session { conn, is_registered, applied, asked: 0, answered: 0 });
        let session_id = self.session_id.clone();
        self.ask(env, Call::Session { session_id });
    }

    /// A call whose answer is waited for.
    fn ask(&mut self, env: &mut Env, call: Call) {
        let Some(session) = &mut self.session else { return };
        session.asked += 1;
        let (conn, asked) = (session.conn, session.asked);
        env.effects.push(Effect::Call { conn, call });
        self.timer(env, ANSWER_MAX, Timer::Overdue(conn, asked));
    }

    /// The session is over; another is begun soon.
    pub(crate) fn end_session(&mut self, env: &mut Env, conn: ConnId) {
        if self.session.as_ref().is_none_or(|session| session.conn != conn) {
            return;
        }
        self.session = None;
        if let Some(agent) = &mut self.agent {
            agent.reports.put_back();
        }
        env.effects.push(Effect::Close { conn });
        let pause = env.random.millis(100, 600);
        self.timer(env, pause, Timer::Connect);
    }

    pub(crate) fn answered(&mut self, env: &mut Env, conn: ConnId, answer: Answer) {
        let Some(session) = self.session.as_mut().filter(|session| session.conn == conn) else {
            return;
        };
        match answer {
            Answer::Session { session_id } => {
                session.is_registered = true;
                session.answered = session.asked;
                self.session_id.clone_from(&session_id);
                env.effects.push(Effect::Call { conn, call: Call::Assignments { session_id } });
                self.heartbeat(env, conn);
                self.report(env);
            }
            Answer::Beat(period) => {
                session.answered = session.asked;
                self.timer(env, period.max(Duration::from_millis(50)), Timer::Heartbeat(conn));
            }
            Answer::Assignments(message) => {
                let is_complete = message.r#type() == Type::Complete;
                if !is_complete && message.applies_to != session.applied {
                    env.note(format_args!("worker {} missed an assignment", self.id));
                    return self.end_session(env, conn);
                }
                session.applied.clone_from(&message.results_in);
                self.assign(env, *message);
                self.report(env);
            }
            Answer::StatusesTaken => {
                if let Some(agent) = &mut self.agent {
                    agent.reports.taken();
                }
                self.report(env);
            }
            Answer::Refused(why) => {
                env.note(format_args!("worker {} is refused: {why}", self.id));
                if !session.is_registered {
                    self.session_id.clear();
                }
                self.end_session(env, conn);
            }
        }
    }

    pub(crate) fn heartbeat(&mut self, env: &mut Env, conn: ConnId) {
        if self.session.as_ref().is_some_and(|session| session.conn == conn) {
            let session_id = self.session_id.clone();
            self.ask(env, Call::Heartbeat { session_id });
        }
    }

    pub(crate) fn overdue(&mut self, env: &mut Env, conn: ConnId, asked: u64) {
        let session = self.session.as_ref();
        if session.is_some_and(|session| session.conn == conn && session.answered < asked) {
            self.end_session(env, conn);
        }
    }

    /// Sends what waits, one request at a time.
    pub(crate) fn report(&mut self, env: &mut Env) {
        let Some(session) = self.session.as_ref().filter(|session| session.is_registered) else {
            return;
        };
        let Some(updates) = self.agent.as_mut().and_then(|agent| agent.reports.take()) else {
            return;
        };
        let call = Call::Statuses { session_id: self.session_id.clone(), updates };
        env.effects.push(Effect::Call { conn: session.conn, call });
    }
}

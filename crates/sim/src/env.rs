//! What every simulated process is given: the time, the chance, the trace, the checks, and where its effects go.

use std::time::{Duration, Instant};

use swarm_proto::v1::AssignmentsMessage;
use swarm_proto::v1::update_task_status_request::TaskStatusUpdate;

use crate::checks::Checks;
use crate::net::ConnId;
use crate::options::Options;
use crate::random::Random;
use crate::trace::Trace;

/// What an agent asks of a dispatcher.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Session { session_id: String },
    Heartbeat { session_id: String },
    Assignments { session_id: String },
    Statuses { session_id: String, updates: Vec<TaskStatusUpdate> },
}

/// What a dispatcher tells an agent.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Session { session_id: String },
    Beat(Duration),
    Assignments(Box<AssignmentsMessage>),
    StatusesTaken,
    Refused(String),
}

/// How a client's request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is committed, by the leader of this term.
    Acknowledged { term: u64 },
    /// Nothing was done.
    Refused,
    /// It may be done or not.
    Unknown,
}

/// What a process wants done outside of itself.
#[derive(Debug)]
pub(crate) enum Effect {
    Raft {
        from: u64,
        to: u64,
        body: Vec<u8>,
        is_snapshot: bool,
    },
    Call {
        conn: ConnId,
        call: Call,
    },
    Answer {
        conn: ConnId,
        answer: Answer,
    },
    /// One end closes the connection.
    Close {
        conn: ConnId,
    },
    Done {
        request: u64,
        outcome: Outcome,
    },
    Timer {
        worker: u64,
        boot: u64,
        after: Duration,
        timer: Timer,
    },
}

/// What an agent set a timer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    Connect,
    Heartbeat(ConnId),
    /// The answer to a heartbeat, or to a registration, is overdue.
    Overdue(ConnId, u64),
    Work(u64),
}

/// The surroundings of all processes.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) now: Duration,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) checks: Checks,
    pub(crate) options: Options,
    pub(crate) effects: Vec<Effect>,
    /// Whether faults happen.
    pub(crate) is_stormy: bool,
    /// Any instant: cores only compare them.
    start: Instant,
}

impl Env {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        Self {
            now: Duration::ZERO,
            random: Random::new(seed),
            trace: Trace::new(options.is_loud),
            checks: Checks::default(),
            options,
            effects: Vec::new(),
            is_stormy: false,
            start: Instant::now(),
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        self.start + self.now
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }
}

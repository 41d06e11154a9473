//! Sessions and heartbeats: who is alive, decided without I/O.
//!
//! ```text
//!   Lead, Configure, Register, Heartbeat, Sign, StreamEnded, NodeRemoved, Tick ──> Core::step ──> Command, Command, …
//! ```
//!
//! A node is in one of three states here: *unknown* (from the leader's start until it registers or its grace window
//! ends), *registered* (it has a session) or *down* (until it registers again, or for 24 hours, after which its tasks
//! are orphaned). Mirrors SwarmKit's `manager/dispatcher/nodes.go` and the sessions of `dispatcher.go`; the lib's
//! header says where the time limits differ from SwarmKit's and why. Not here: the store and the streams themselves,
//! which the driver serves by the commands.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use swarm_proto::v1::node_status::State;

use crate::SessionError;
use crate::config::Timing;

/// Names one session stream, so that the end of an older one is told from the end of the newest.
pub type StreamId = u64;

/// A node as the store has it when this manager begins to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNode {
    /// The node.
    pub node_id: String,
    /// Whether it was already found to be down.
    pub is_down: bool,
    /// Whether an agent of ours runs there, which finds a new leader fast.
    pub is_swift: bool,
}

/// What happens to the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This manager leads now; these are all nodes of the cluster.
    Lead(Vec<KnownNode>),
    /// The cluster's heartbeat period was changed.
    Configure(Duration),
    /// A node asks for a session.
    Register(Registration),
    /// A node reports itself alive.
    Heartbeat {
        /// Who.
        node_id: String,
        /// In which session.
        session_id: String,
    },
    /// A node that has not registered in this term yet proves that it lives.
    Sign(String),
    /// A session stream broke, or the peer closed it.
    StreamEnded {
        /// Whose.
        node_id: String,
        /// Which.
        stream: StreamId,
    },
    /// The node was removed from the cluster.
    NodeRemoved(String),
    /// Time has passed; due after [`Core::wakeup`].
    Tick,
}

/// A node's request for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who.
    pub node_id: String,
    /// The session that it wants to resume; empty for none.
    pub session_id: String,
    /// The ID that a new session would get; unused otherwise.
    pub fresh_session_id: String,
    /// The stream that will carry the session.
    pub stream: StreamId,
    /// Whether this is an agent of ours, which takes short heartbeats.
    pub is_swift: bool,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answers a registration: the node has this session now.
    Accept {
        /// Which node.
        node_id: String,
        /// The session's ID.
        session_id: String,
    },
    /// Answers a heartbeat: the next one is due after this time.
    Beat(Duration),
    /// Answers a registration or heartbeat with an error.
    Refuse(SessionError),
    /// Ends all streams of a session.
    CloseSession {
        /// Whose.
        node_id: String,
        /// Which.
        session_id: String,
        /// What its streams are told.
        reason: SessionError,
    },
    /// Writes a node's state. (READY is written by the driver on `Accept`: it knows description and address.)
    SetState {
        /// Which node.
        node_id: String,
        /// Its new state.
        state: State,
        /// Why.
        message: &'static str,
    },
    /// Moves the node's unfinished tasks to ORPHANED.
    OrphanTasks {
        /// Which node.
        node_id: String,
    },
}

/// What is known about one node that is not down.
#[derive(Debug)]
struct Liveness {
    /// None while the node is unknown.
    session: Option<Session>,
    deadline: Instant,
    /// Its time was up while nobody else was heard either, so it got more.
    is_put_off: bool,
}

#[derive(Debug)]
struct Session {
    id: String,
    stream: StreamId,
    is_swift: bool,
    /// The newest stream has ended and no other came yet.
    is_suspect: bool,
    registered_at: Instant,
    attempts: u32,
}

/// The state machine of all sessions.
#[derive(Debug)]
pub struct Core {
    timing: Timing,
    /// The node that this manager runs on, which is heard whatever happens to the network.
    own_node: String,
    /// When any other node last gave a sign of life.
    others_heard_at: Option<Instant>,
    /// When the term began.
    led_at: Option<Instant>,
    alive: BTreeMap<String, Liveness>,
    /// Down nodes, and when their tasks are to be orphaned.
    down: BTreeMap<String, Instant>,
    /// No deadline is earlier; heartbeats move the true first one on, which the tick at this time notices.
    earliest: Option<Instant>,
    /// Whether the time of any node was put off: most often of none, and then a heartbeat concerns its node alone.
    has_put_off: bool,
    jitter: StdRng,
}

impl Core {
    /// A core that knows no node yet, on the node `own_node`. The seed decides how heartbeat periods are spread.
    pub fn new(timing: Timing, own_node: &str, seed: u64) -> Self {
        Self {
            timing,
            own_node: own_node.to_owned(),
            others_heard_at: None,
            led_at: None,
            alive: BTreeMap::new(),
            down: BTreeMap::new(),
            earliest: None,
            has_put_off: false,
            jitter: StdRng::seed_from_u64(seed),
        }
    }

    /// Takes one event and returns what follows from it, in order.
    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Command> {
        match event {
            Event::Lead(nodes) => {
                let commands = self.lead(now, nodes);
                self.earliest = self.first_deadline();
                commands
            }
            Event::Configure(period) => {
                self.timing.heartbeat_period = period;
                Vec::new()
            }
            Event::Register(registration) => self.register(now, registration),
            Event::Heartbeat { node_id, session_id } => {
                vec![self.heartbeat(now, &node_id, &session_id)]
            }
            Event::Sign(node_id) => {
                self.sign(now, &node_id);
                Vec::new()
            }
            Event::StreamEnded { node_id, stream } => {
                self.stream_ended(now, &node_id, stream);
                Vec::new()
            }
            Event::NodeRemoved(node_id) => {
                let commands = self.remove(&node_id);
                self.earliest = self.first_deadline();
                commands
            }
            Event::Tick => {
                let commands = self.tick(now);
                self.earliest = self.first_deadline();
                commands
            }
        }
    }

    /// When the next [`Event::Tick`] is due; none while nothing can expire.
    pub fn wakeup(&self) -> Option<Instant> {
        self.earliest
    }

    /// A deadline was set to `at`.
    fn expects(&mut self, at: Instant) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    fn first_deadline(&self) -> Option<Instant> {
        let deadlines = self.alive.values().map(|node| node.deadline);
        deadlines.chain(self.down.values().copied()).min()
    }

    /// Whether this is the node's session.
    ///
    /// # Errors
    /// [`SessionError::NotRegistered`] where the node has none, [`SessionError::Invalid`] where it has another.
    pub fn check(&self, node_id: &str, session_id: &str) -> Result<(), SessionError> {
        let node = self.alive.get(node_id).ok_or(SessionError::NotRegistered)?;
        match &node.session {
            Some(session) if session.id == session_id => Ok(()),
            _ => Err(SessionError::Invalid),
        }
    }

    fn lead(&mut self, now: Instant, nodes: Vec<KnownNode>) -> Vec<Command> {
        self.alive.clear();
        self.down.clear();
        self.has_put_off = false;
        // Silence is counted from here: a manager that hears nobody from the start may be cut off as well.
        self.others_heard_at = Some(now);
        self.led_at = Some(now);
        let mut commands = Vec::new();
        for KnownNode { node_id, is_down, is_swift } in nodes {
            if is_down {
                self.down.insert(node_id, now + self.timing.orphan_after);
                continue;
            }
            let deadline = now + self.timing.unknown_grace(is_swift);
            let unknown = Liveness { session: None, deadline, is_put_off: false };
            self.alive.insert(node_id.clone(), unknown);
            let message = "Node moved to \"unknown\" state due to leadership change in cluster";
            commands.push(Command::SetState { node_id, state: State::Unknown, message });
        }
        commands
    }

    fn register(&mut self, now: Instant, registration: Registration) -> Vec<Command> {
        let Registration { node_id, session_id, fresh_session_id, stream, is_swift } = registration;
        let grace = self.timing.grace(is_swift);
        let suspect_grace = self.timing.suspect_grace();
        let (mut attempts, mut replaced) = (0, None);
        self.heard(now, &node_id);
        if let Some(Liveness { session: Some(session), deadline, .. }) =
            self.alive.get_mut(&node_id)
        {
            if session.id == session_id {
                *deadline = now + grace;
                session.stream = stream;
                session.is_suspect = false;
                session.is_swift = is_swift;
                self.expects(now + grace);
                return vec![Command::Accept { node_id, session_id }];
            }
            if now.duration_since(session.registered_at) > self.timing.rate_limit_period {
                session.attempts = 0;
            }
            session.attempts += 1;
            if session.attempts > self.timing.rate_limit_attempts {
                // Whoever asks this often is alive: it must not be taken for dead because it is put off.
                *deadline = (*deadline).max(now + suspect_grace);
                return vec![Command::Refuse(SessionError::RateLimited { node_id })];
            }
            attempts = session.attempts;
            replaced = Some(session.id.clone());
        }
        self.down.remove(&node_id);
        let id = fresh_session_id;
        let session = Session {
            id: id.clone(),
            stream,
            is_swift,
            is_suspect: false,
            registered_at: now,
            attempts,
        };
        let registered =
            Liveness { session: Some(session), deadline: now + grace, is_put_off: false };
        self.alive.insert(node_id.clone(), registered);
        self.expects(now + grace);
        let close = replaced.map(|session_id| Command::CloseSession {
            node_id: node_id.clone(),
            session_id,
            reason: SessionError::Invalid,
        });
        close.into_iter().chain([Command::Accept { node_id, session_id: id }]).collect()
    }

    fn heartbeat(&mut self, now: Instant, node_id: &str, session_id: &str) -> Command {
        if let Err(error) = self.check(node_id, session_id) {
            return Command::Refuse(error);
        }
        self.heard(now, node_id);
        let Some(Liveness { session: Some(session), deadline, .. }) = self.alive.get_mut(node_id)
        else {
            return Command::Refuse(SessionError::NotRegistered);
        };
        let base = self.timing.period(session.is_swift);
        let spread = if session.is_swift {
            Duration::ZERO
        } else {
            self.timing.heartbeat_epsilon.min(base / 2)
        };
        let period = base - spread + self.jitter.random_range(Duration::ZERO..=spread * 2);
        let grace = match (session.is_suspect, session.is_swift) {
            (true, _) => self.timing.suspect_grace(),
            (false, true) => self.timing.grace(true),
            (false, false) => self.timing.grace_of(period),
        };
        *deadline = now + grace;
        self.expects(now + grace);
        Command::Beat(period)
    }

    /// Who lives but cannot register, since packets are lost or the machine is busy, gets the time that others get.
    fn sign(&mut self, now: Instant, node_id: &str) {
        let Some(node) = self.alive.get_mut(node_id).filter(|node| node.session.is_none()) else {
            return;
        };
        let last = self.led_at.unwrap_or(now) + self.timing.unknown_grace(false);
        node.deadline = node.deadline.max((now + self.timing.suspect_grace()).min(last));
        self.heard(now, node_id);
    }

    fn stream_ended(&mut self, now: Instant, node_id: &str, stream: StreamId) {
        let Some(Liveness { session: Some(session), deadline, .. }) = self.alive.get_mut(node_id)
        else {
            return;
        };
        if session.stream == stream {
            session.is_suspect = true;
            let at = now + self.timing.suspect_grace();
            *deadline = at;
            self.expects(at);
        }
    }

    fn remove(&mut self, node_id: &str) -> Vec<Command> {
        self.down.remove(node_id);
        let session = self.alive.remove(node_id).and_then(|node| node.session);
        let close = session.map(|session| Command::CloseSession {
            node_id: node_id.to_owned(),
            session_id: session.id,
            reason: SessionError::NodeNotFound,
        });
        close.into_iter().collect()
    }

    /// Whether this tick comes so late that it was the manager that stood still (a stopped process, a paused machine):
    /// the nodes' heartbeats may be waiting in its sockets, so those whose time is up get a little more.
    fn was_stalled(&mut self, now: Instant) -> bool {
        let due = self.alive.values().map(|node| node.deadline).min().unwrap_or(now);
        if now.saturating_duration_since(due) <= self.timing.stall_max {
            return false;
        }
        let grace = self.timing.suspect_grace();
        for node in self.alive.values_mut() {
            node.deadline = node.deadline.max(now + grace);
        }
        true
    }

    /// Another node gave a sign of life: the network is there, so the silence of those that were put off is their own.
    fn heard(&mut self, now: Instant, node_id: &str) {
        if node_id == self.own_node {
            return;
        }
        self.others_heard_at = Some(now);
        if !std::mem::take(&mut self.has_put_off) {
            return;
        }
        let deadline = now + self.timing.suspect_grace();
        self.expects(deadline);
        for (id, node) in self.alive.iter_mut().filter(|(_, node)| node.is_put_off) {
            node.is_put_off = false;
            node.deadline = if id == node_id { deadline } else { node.deadline.min(deadline) };
        }
    }

    /// Where several other nodes fell silent at once, it is more likely that this manager was cut off than that all of
    /// them died: they get more time, once. A node whose connections were closed is not meant: somebody closed them.
    fn put_off(&mut self, now: Instant) {
        let silent = |heard_at: Instant| {
            now.saturating_duration_since(heard_at) >= self.timing.common_silence
        };
        let own_node = &self.own_node;
        let mut others: Vec<&mut Liveness> =
            self.alive.iter_mut().filter(|(id, _)| *id != own_node).map(|(_, node)| node).collect();
        if others.len() < 2 || !self.others_heard_at.is_some_and(silent) {
            return;
        }
        for node in &mut others {
            let is_suspect = node.session.as_ref().is_some_and(|session| session.is_suspect);
            if node.deadline <= now && !node.is_put_off && !is_suspect {
                node.is_put_off = true;
                self.has_put_off = true;
                node.deadline = now + self.timing.isolation_grace;
            }
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        let orphaned: Vec<String> = self
            .down
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(node_id, _)| node_id.clone())
            .collect();
        for node_id in orphaned {
            self.down.remove(&node_id);
            commands.push(Command::OrphanTasks { node_id });
        }
        if self.was_stalled(now) {
            return commands;
        }
        self.put_off(now);
        let dead: Vec<String> = self
            .alive
            .iter()
            .filter(|(_, node)| node.deadline <= now)
            .map(|(node_id, _)| node_id.clone())
            .collect();
        for node_id in dead {
            let session = self.alive.remove(&node_id).and_then(|node| node.session);
            self.down.insert(node_id.clone(), now + self.timing.orphan_after);
            let message = match session {
                Some(_) => "heartbeat failure",
                None => "heartbeat failure for node in \"unknown\" state",
            };
            commands.push(Command::SetState {
                node_id: node_id.clone(),
                state: State::Down,
                message,
            });
            commands.extend(session.map(|session| Command::CloseSession {
                node_id,
                session_id: session.id,
                reason: SessionError::NotRegistered,
            }));
        }
        commands
    }
}

#[cfg(test)]
mod tests;

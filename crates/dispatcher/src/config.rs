//! The dispatcher's settings: SwarmKit's values, and where ours differ from them.

use std::time::Duration;

/// Time limits of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often agents report; the cluster's setting replaces it.
    pub heartbeat_period: Duration,
    /// Periods told to stock agents vary by as much in both directions, so that they don't all come at once.
    pub heartbeat_epsilon: Duration,
    /// How many periods of silence make a node dead.
    pub grace_multiplier: u32,
    /// The silence that is death for our own agents and for nodes whose session stream broke, where the cluster's
    /// period is no longer than [`Timing::heartbeat_period_usual`]; beyond it, it grows with the period.
    pub suspect_grace: Duration,
    /// So many of our own agents' periods are in the silence that is death.
    pub swift_beats: u32,
    /// The cluster's period unless somebody changed it.
    pub heartbeat_period_usual: Duration,
    /// So long without a sign of life of any other node, while there are several, a manager may be cut off itself.
    pub common_silence: Duration,
    /// What silent nodes get then, beyond the silence that is death otherwise: together SwarmKit's 15 s.
    pub isolation_grace: Duration,
    /// A deadline noticed later than this shows that the manager itself stood still.
    pub stall_max: Duration,
    /// In this time a node may register [`Timing::rate_limit_attempts`] times.
    pub rate_limit_period: Duration,
    /// See [`Timing::rate_limit_period`].
    pub rate_limit_attempts: u32,
    /// How long a node is down before its tasks are taken for lost.
    pub orphan_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_period: Duration::from_secs(5),
            heartbeat_epsilon: Duration::from_millis(500),
            grace_multiplier: 3,
            suspect_grace: Duration::from_secs(3),
            swift_beats: 6,
            heartbeat_period_usual: Duration::from_secs(5),
            common_silence: Duration::from_millis(1500),
            isolation_grace: Duration::from_secs(12),
            stall_max: Duration::from_secs(1),
            rate_limit_period: Duration::from_secs(8),
            rate_limit_attempts: 3,
            orphan_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Timing {
    /// The base period for an agent, ours (`is_swift`) or a stock one.
    pub(crate) fn period(&self, is_swift: bool) -> Duration {
        if is_swift { self.grace(true) / self.swift_beats } else { self.heartbeat_period }
    }

    /// The silence that an agent is allowed.
    pub(crate) fn grace(&self, is_swift: bool) -> Duration {
        if is_swift {
            self.suspect_grace().min(self.grace_of(self.heartbeat_period))
        } else {
            self.grace_of(self.heartbeat_period)
        }
    }

    /// The silence that a node is allowed after its session stream broke. Who sets a longer period wants patience.
    pub(crate) fn suspect_grace(&self) -> Duration {
        let usual = self.heartbeat_period_usual.as_secs_f64();
        let scale = (self.heartbeat_period.as_secs_f64() / usual).max(1.0);
        self.suspect_grace.mul_f64(scale)
    }

    pub(crate) fn grace_of(&self, period: Duration) -> Duration {
        period * self.grace_multiplier
    }

    /// The silence that nodes are allowed after a change of leader, when all must find the new one first. Our own
    /// agents take a second for it; others get, as in SwarmKit, twice the usual.
    pub(crate) fn unknown_grace(&self, is_swift: bool) -> Duration {
        if is_swift { self.suspect_grace() } else { self.grace(false) * 2 }
    }
}

/// What the driver needs besides the store.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// This manager's node ID, which signs the statuses that it writes (`applied_by`).
    pub node_id: String,
    /// Time limits of sessions.
    pub timing: Timing,
}

/// Changes are collected this long before the next message, once one was sent; the first after a pause goes out at
/// once. SwarmKit waits 100 ms, which a service's start would feel. Grows with the nodes, as [`window`] says.
pub(crate) const ASSIGNMENT_WINDOW: Duration = Duration::from_millis(5);

/// How long changes are collected where so many nodes have sessions: twice as long for every hundred of them, so that the
/// tasks of a large service come to each of a thousand nodes in a few messages.
pub(crate) fn window(least: Duration, sessions: usize) -> Duration {
    least.saturating_mul(1 + u32::try_from(sessions / 100).unwrap_or(u32::MAX))
}

/// A message of assignments carries no more changes than this (SwarmKit's `modificationBatchLimit`), the first of a
/// stream excepted.
pub(crate) const CHANGES_PER_MESSAGE_MAX: usize = 100;

/// A message of assignments is no larger than this, so that it delays heartbeats on the same connection little.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Status changes per transaction: as SwarmKit's store, so that its members could follow the log.
pub(crate) const CHANGES_PER_TRANSACTION_MAX: usize = 200;

/// Requests that wait for the writer; beyond it, agents' calls wait. Each is one call of one agent.
pub(crate) const WRITES_WAITING_MAX: usize = 1024;

/// Messages that wait in a stream for a slow reader: one is enough, as the next is made from the state when it is due.
pub(crate) const STREAM_MESSAGES_WAITING_MAX: usize = 1;

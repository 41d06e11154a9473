//! The driver: one thread that carries out what the core commands, and the handle to it.
//!
//! The thread drains what waits (proposals, messages, ticks), writes it to the log with one flush, and then applies
//! what is committed in order: under load many proposals share a flush. No tokio inside. Whoever holds a
//! [`RaftNode`] may be sync or async.

mod config;
mod inbox;
mod node;
mod outstanding;
mod reform;
mod snapshots;
mod status;
mod stepped;
mod thread;

pub use config::{RaftConfig, Seed};
pub use node::RaftNode;
pub use status::{Role, Status};
pub use stepped::Stepped;

/// An entry that a majority has on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed<'a> {
    /// Its place in the log.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// What was proposed.
    pub data: &'a [u8],
    /// What [`RaftNode::submit`] was given, when this very leadership proposed it.
    pub ticket: Option<u64>,
}

/// The news of leadership, in log order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// This member leads, and everything that was committed before is applied.
    Gained {
        /// The last index applied.
        index: u64,
    },
    /// It no longer leads: nothing that it submitted and that was not applied yet will be told with its ticket.
    Lost,
}

/// One change of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// A voter joined, or told a new address.
    Added {
        /// Its raft ID.
        id: u64,
        /// What was told about it: an encoded `RaftMember`.
        context: Vec<u8>,
    },
    /// A member that only learns joined.
    AddedLearner {
        /// Its raft ID.
        id: u64,
        /// What was told about it.
        context: Vec<u8>,
    },
    /// What is told about a member changed.
    Updated {
        /// Its raft ID.
        id: u64,
        /// What is told about it now.
        context: Vec<u8>,
    },
    /// A member left; its ID never comes back.
    Removed {
        /// Its raft ID.
        id: u64,
    },
}

/// Why a state machine cannot go on; the member stops then.
pub type MachineError = Box<dyn std::error::Error + Send + Sync>;

/// A state at one moment, which becomes a snapshot's body when it is called.
pub type Capture = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// What the log is replicated for. Called from the raft thread alone, in log order; it must not wait for the
/// member's own answers.
pub trait StateMachine: Send {
    /// Applies one entry.
    ///
    /// # Errors
    /// When the entry cannot be applied: going on would make this member differ from the others.
    fn apply(&mut self, entry: Committed<'_>) -> Result<(), MachineError>;

    /// Notes a change of the membership.
    fn membership(&mut self, index: u64, change: MemberChange);

    /// Notes a change of leadership.
    fn leadership(&mut self, leadership: Leadership);

    /// Captures the whole state as applied now. This must be cheap, as the raft thread waits for it; what encodes the
    /// capture runs on another thread while entries go on being applied.
    fn snapshot(&mut self) -> Capture;

    /// Replaces the whole state.
    ///
    /// # Errors
    /// When the snapshot is not understood.
    fn restore(&mut self, body: &[u8]) -> Result<(), MachineError>;
}

/// A message for another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The raft ID that it goes to.
    pub to: u64,
    /// An encoded `raftpb.Message`.
    pub body: Vec<u8>,
    /// Whether it carries a snapshot: then [`RaftNode::report_snapshot`] must tell the outcome.
    pub is_snapshot: bool,
}

/// Carries messages to other members. Losing, repeating and reordering them is allowed; waiting is not.
pub trait Transport: Send + Sync {
    /// Queues messages to be sent.
    fn send(&self, messages: Vec<Outgoing>);
}

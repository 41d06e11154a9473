//! What the handle asks of the thread.

use raft::eraftpb::{ConfChangeType, Message, Snapshot};

use super::Capture;
use crate::error::RaftError;
use crate::log::{LogError, Position};

/// Called once with an index or the failure; from the raft thread, so it must not wait.
pub(super) type Done = Box<dyn FnOnce(Result<u64, RaftError>) + Send>;

/// Called once with a state and its place in the log; from the raft thread, so it must not wait.
pub(super) type Captured = Box<dyn FnOnce(Position, Capture) + Send>;

/// One input of the thread.
pub(super) enum Input {
    /// Append; the outcome goes to `done`.
    Propose { data: Vec<u8>, done: Done },
    /// Append on behalf of the leadership `epoch`; the outcome goes to the state machine.
    Submit { data: Vec<u8>, ticket: u64, epoch: u64 },
    /// Change the membership.
    Change { kind: ConfChangeType, id: u64, context: Vec<u8>, done: Done },
    /// A message of another member.
    Message(Box<Message>),
    /// Tell the index for a linearizable read, once it is applied.
    Read { done: Done },
    /// Hand leadership over.
    Transfer { to: u64 },
    /// Ask for an election now.
    Campaign,
    /// A member could not be reached.
    Unreachable { peer: u64 },
    /// A snapshot was sent to a member, or not.
    SnapshotSent { peer: u64, sent: bool },
    /// Take a snapshot and compact now.
    Snapshot { done: Done },
    /// Write the whole log anew, as the sealer seals now.
    Reseal { done: Done },
    /// Capture the state as applied now, for whoever asks.
    Capture { done: Captured },
    /// The snapshot that was begun has been written, or not.
    SnapshotMade(Box<Result<Snapshot, LogError>>),
    /// End the thread.
    Shutdown,
}

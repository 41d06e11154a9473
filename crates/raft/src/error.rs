//! What can go wrong when a member is asked for something.

use std::any::Any;

use crate::log::LogError;

/// A member's refusal or failure.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// Only the leader takes proposals.
    #[error("this member does not lead (leader: {leader:?})")]
    NotLeader {
        /// The raft ID of the leader, where it is known.
        leader: Option<u64>,
    },
    /// Leadership went while the proposal was out: it may still commit, or not.
    #[error("leadership was lost before the entry was committed")]
    LeadershipLost,
    /// Membership changes one at a time, as in SwarmKit.
    #[error("another membership change is in progress")]
    ConfChangePending,
    /// The leader takes no proposals now: it hands over, or too much is uncommitted.
    #[error("the leader takes no proposals at the moment")]
    ProposalDropped,
    /// Too many incoming messages wait; the sender's Raft repeats them.
    #[error("too many messages wait")]
    Busy,
    /// The member has stopped: it was shut down, or its log failed.
    #[error("the member has stopped")]
    Stopped,
    /// Bytes from the network that are no Raft message.
    #[error("undecodable raft message")]
    BadMessage(#[source] protobuf::ProtobufError),
    /// The log could not be opened, read or written.
    #[error("the raft log failed")]
    Log(#[from] LogError),
    /// The algorithm refused.
    #[error("raft refused")]
    Raft(#[source] raft::Error),
    /// The algorithm found its own state to be impossible.
    #[error("the raft thread panicked: {0}")]
    Panicked(String),
    /// The log is older than what this member told the others.
    #[error(
        "this manager's data is older than what it acknowledged: entry {acknowledged} is committed here, and {last} is the \
         last. An older copy was put in place, or the disk lost what was written; leave the swarm with --force and join \
         it anew"
    )]
    Forgot {
        /// The entry that a leader knows to be here.
        acknowledged: u64,
        /// The last entry that is.
        last: u64,
    },
    /// No new group can be made of this member's log.
    #[error("no new cluster can be made of this manager's data: {why}")]
    NothingToReform {
        /// Why not.
        why: &'static str,
    },
    /// A snapshot could not be taken; the log says why, and the member goes on without it.
    #[error("no snapshot was taken")]
    SnapshotFailed,
    /// The thread of the member could not be started.
    #[error("starting the raft thread")]
    Thread(#[source] std::io::Error),
    /// The state machine could not apply an entry, and would differ from now on.
    #[error("applying entry {index}")]
    Apply {
        /// The entry.
        index: u64,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The state machine could not take a snapshot.
    #[error("restoring the state from a snapshot: {0}")]
    Restore(String),
}

impl RaftError {
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panicked(text.unwrap_or("no reason told").to_owned())
    }
}

impl From<raft::Error> for RaftError {
    fn from(error: raft::Error) -> Self {
        match error {
            raft::Error::ProposalDropped => Self::ProposalDropped,
            other => Self::Raft(other),
        }
    }
}

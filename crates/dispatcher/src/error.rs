//! What can be wrong with a call, and the gRPC status that says so, in SwarmKit's words.

use tonic::Status;

/// Why a node has no session, or not this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The node has no session with this dispatcher.
    #[error("node not registered")]
    NotRegistered,
    /// The node has another session.
    #[error("session invalid")]
    Invalid,
    /// The cluster has no such node.
    #[error("node not found")]
    NodeNotFound,
    /// The node asks for new sessions too often.
    #[error("node {node_id} exceeded rate limit count of registrations")]
    RateLimited {
        /// Which node.
        node_id: String,
    },
    /// This manager does not lead, or not yet.
    #[error("dispatcher is stopped")]
    Stopped,
}

impl From<SessionError> for Status {
    fn from(error: SessionError) -> Self {
        let message = error.to_string();
        match error {
            SessionError::NotRegistered | SessionError::NodeNotFound => Status::not_found(message),
            SessionError::Invalid => Status::invalid_argument(message),
            SessionError::RateLimited { .. } => Status::unavailable(message),
            SessionError::Stopped => Status::aborted(message),
        }
    }
}

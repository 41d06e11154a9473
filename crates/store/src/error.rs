//! Why a transaction was refused or an update did not come about.

use crate::object::Kind;

/// A refused write or a failed commit. The texts of the first four are SwarmKit's, which clients see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An object with this identifier is there already.
    #[error("object already exists")]
    Exists {
        /// The table.
        kind: Kind,
        /// The identifier.
        id: String,
    },
    /// No object with this identifier is there.
    #[error("object does not exist")]
    NotFound {
        /// The table.
        kind: Kind,
        /// The identifier.
        id: String,
    },
    /// Another object of the table has the name already.
    #[error("name conflicts with an existing object")]
    NameConflict {
        /// The table.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// The object changed after the caller read it.
    #[error("update out of sequence")]
    OutOfSequence {
        /// The table.
        kind: Kind,
        /// The identifier.
        id: String,
    },
    /// This member does not lead, so it cannot write.
    #[error("node is not the leader")]
    NotLeader,
    /// Leadership was lost before the write was known to be committed; it may or may not come about.
    #[error("leadership was lost before the write was committed")]
    LeadershipLost,
    /// The log could not take the write.
    #[error("the write could not be logged: {0}")]
    Log(String),
    /// A log entry or snapshot is not what a store wrote.
    #[error("undecodable {what}")]
    Undecodable {
        /// Which part.
        what: &'static str,
    },
}

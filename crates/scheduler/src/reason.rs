//! What reasons for waiting say, for rooms that act on them.

use std::fmt;

/// Something of which a node has only so much for tasks of one kind, so that one may have to go before the next can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conflict {
    /// A port that is published on the node itself.
    HostPort,
    /// The service's limit of tasks a node.
    MaxReplicas,
    /// The service's wish to be on no node twice.
    OwnService,
}

const CONFLICTS: [Conflict; 3] = [Conflict::HostPort, Conflict::MaxReplicas, Conflict::OwnService];

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostPort => "host-mode port already in use",
            Self::MaxReplicas => "max replicas per node limit exceed",
            Self::OwnService => "kept apart from its own service",
        })
    }
}

/// The conflicts that a reason (`status.err` of a task that waits) names.
pub fn conflicts(reason: &str) -> Vec<Conflict> {
    CONFLICTS.into_iter().filter(|conflict| reason.contains(&conflict.to_string())).collect()
}

//! What the control service asks of Raft: who the managers are, and whether one may go.

use swarm_proto::v1::{ManagerStatus, Node};

/// A manager as its Raft group sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct RaftMember {
    /// The node.
    pub node_id: String,
    /// Its Raft ID, address, leadership and reachability, as clients are told.
    pub status: ManagerStatus,
}

/// The Raft group's members.
pub trait RaftMembership: Send + Sync {
    /// All members at this moment.
    fn members(&self) -> Vec<RaftMember>;

    /// Whether the group would still have a quorum without this member.
    fn can_remove(&self, raft_id: u64) -> bool;
}

/// Adds to a node what the group knows of it.
pub(super) fn annotate(node: &mut Node, members: &[RaftMember]) {
    if let Some(member) = members.iter().find(|member| member.node_id == node.id) {
        node.manager_status = Some(member.status.clone());
    }
}

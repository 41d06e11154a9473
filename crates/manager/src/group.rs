//! The Raft group as the control service shows it: who the managers are, who leads, and who may go.

use swarm_proto::v1::ManagerStatus;
use swarm_proto::v1::raft_member_status::Reachability;
use swarm_raft::RaftNode;
use swarm_raft::store_adapter::Members;

use crate::control::{RaftMember, RaftMembership};

/// This member's view of its group.
pub(crate) struct Group {
    pub(crate) raft: RaftNode,
    pub(crate) members: Members,
}

impl RaftMembership for Group {
    fn members(&self) -> Vec<RaftMember> {
        let leader = self.raft.status().leader;
        let status = |member: swarm_proto::v1::RaftMember| RaftMember {
            node_id: member.node_id,
            status: ManagerStatus {
                raft_id: member.raft_id,
                addr: member.addr,
                leader: leader == Some(member.raft_id),
                reachability: Reachability::Reachable.into(),
            },
        };
        self.members.list().into_iter().map(status).collect()
    }

    fn can_remove(&self, raft_id: u64) -> bool {
        can_remove(&self.raft.status().voters, raft_id)
    }
}

/// Whether a group has members left without this one. Members that are out of reach count once the transport to other
/// members tells of them.
fn can_remove(voters: &[u64], raft_id: u64) -> bool {
    voters.iter().any(|voter| *voter != raft_id)
}

#[cfg(test)]
mod tests {
    use super::can_remove;

    #[test]
    fn the_last_manager_stays() {
        for (voters, raft_id, expect) in
            [(&[1][..], 1, false), (&[1, 2], 1, true), (&[1, 2, 3], 3, true)]
        {
            assert_eq!(can_remove(voters, raft_id), expect);
        }
    }
}

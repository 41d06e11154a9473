//! Which members must leave the group and which nodes change their role, so that both are as desired.
//!
//! Pure: the role manager carries it out on a leader, the simulation does on simulated ones. Mirrors the decisions of
//! SwarmKit's `role_manager`.

use swarm_proto::v1::{Node, NodeRole, RaftMember};
use swarm_store::{Error, Tables, Transaction};

/// The members that must leave: those whose node is to be a worker, or is gone. A member's node exists before it joins.
pub fn leaving(tables: &Tables, members: Vec<RaftMember>) -> Vec<RaftMember> {
    let leaves = |member: &RaftMember| {
        let node = tables.get::<Node>(&member.node_id);
        node.is_none_or(|node| desired(node) == NodeRole::Worker as i32)
    };
    members.into_iter().filter(leaves).collect()
}

/// The nodes whose role is to change now: new managers at once, demoted ones when they have left the group.
pub fn wrong(tables: &Tables, members: &[RaftMember]) -> Vec<String> {
    let is_member = |node: &Node| members.iter().any(|member| member.node_id == node.id);
    tables
        .iter::<Node>()
        .filter(|node| node.role != desired(node))
        .filter(|node| node.role() == NodeRole::Worker || !is_member(node))
        .map(|node| node.id.clone())
        .collect()
}

/// Gives these nodes the role that is desired by now.
///
/// # Errors
/// The store's.
pub fn correct(transaction: &mut Transaction<'_>, nodes: &[String]) -> Result<(), Error> {
    for node_id in nodes {
        let Some(node) = transaction.get::<Node>(node_id) else { continue };
        let role = desired(node);
        if node.role != role {
            transaction.update(Node { role, ..Node::clone(node) })?;
        }
    }
    Ok(())
}

/// The role that a node is to have.
pub fn desired(node: &Node) -> i32 {
    node.spec.as_ref().map_or(node.role, |spec| spec.desired_role)
}

/// Whether a node may join the group: one that was demoted and has not heard of it yet must not come back.
pub fn may_join(tables: &Tables, node_id: &str) -> bool {
    let node = tables.get::<Node>(node_id);
    node.and_then(|node| node.spec.as_ref())
        .is_some_and(|spec| spec.desired_role() == NodeRole::Manager)
}

/// Whether a majority of the voters that remain is in reach.
pub fn can_remove(voters: &[u64], raft_id: u64, is_active: impl Fn(u64) -> bool) -> bool {
    let rest: Vec<u64> = voters.iter().copied().filter(|voter| *voter != raft_id).collect();
    let active = rest.iter().filter(|voter| is_active(**voter)).count();
    active > rest.len() / 2
}

#[cfg(test)]
mod tests {
    use super::can_remove;

    #[test]
    fn a_quorum_must_remain() {
        let ids = |count: u64| (1..=count).collect::<Vec<_>>();
        // Voters, how many of them are out of reach (the last ones), who is to go.
        for (voters, lost, raft_id, expect) in [
            (1, 0, 1, false),
            (2, 0, 1, true),
            (2, 1, 2, true),
            (2, 1, 1, false),
            (3, 0, 3, true),
            (3, 1, 3, true),
            (3, 1, 2, false),
            (5, 2, 5, true),
            (5, 2, 1, false),
            (9, 4, 1, false),
            (9, 4, 9, true),
        ] {
            let is_active = |id| id <= voters - lost;
            let can = can_remove(&ids(voters), raft_id, is_active);
            assert_eq!(can, expect, "{voters} voters, {lost} lost, {raft_id} goes");
        }
    }
}

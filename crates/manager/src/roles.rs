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

/// Whether a node may join the group: one that was demoted and has not heard of it yet must not come back, nor before
/// it has its role again.
pub fn may_join(tables: &Tables, node_id: &str) -> bool {
    let manager = NodeRole::Manager as i32;
    tables.get::<Node>(node_id).is_some_and(|node| node.role == manager && desired(node) == manager)
}

/// Whether a majority of the voters that remain is in reach.
pub fn can_remove(voters: &[u64], raft_id: u64, is_active: impl Fn(u64) -> bool) -> bool {
    let rest: Vec<u64> = voters.iter().copied().filter(|voter| *voter != raft_id).collect();
    let active = rest.iter().filter(|voter| is_active(**voter)).count();
    active > rest.len() / 2
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::NodeRole::{Manager, Worker};
    use swarm_proto::v1::NodeSpec;

    use super::*;

    /// Nodes n1, n2 and so on, with their role, desired role and raft ID; 0 for none.
    fn tables(nodes: &[(NodeRole, NodeRole, u64)]) -> (Tables, Vec<RaftMember>) {
        let (mut tables, mut members) = (Tables::default(), Vec::new());
        for (number, (role, desired, raft_id)) in (1..).zip(nodes) {
            let id = format!("n{number}");
            let spec = NodeSpec { desired_role: (*desired).into(), ..NodeSpec::default() };
            let role = (*role).into();
            let node = Node { id: id.clone(), role, spec: Some(spec), ..Node::default() };
            tables.create(node).expect("is new");
            if *raft_id != 0 {
                members.push(RaftMember { raft_id: *raft_id, node_id: id, ..Default::default() });
            }
        }
        (tables, members)
    }

    #[test]
    fn roles_and_members_follow_what_is_desired() {
        // Does the second node's member leave, does its role change, may it join?
        for (role, desired, raft_id, expect) in [
            (Worker, Worker, 0, (false, false, false)),
            // Promoted: first the role, then the group; also with a certificate from before its demotion.
            (Worker, Manager, 0, (false, true, false)),
            (Manager, Manager, 0, (false, false, true)),
            (Manager, Manager, 2, (false, false, true)),
            // Demoted: first the group, then the role.
            (Manager, Worker, 2, (true, false, false)),
            (Manager, Worker, 0, (false, true, false)),
        ] {
            let (tables, members) = tables(&[(Manager, Manager, 1), (role, desired, raft_id)]);
            let changes = wrong(&tables, &members) == ["n2"];
            let leaves = leaving(&tables, members).iter().any(|member| member.raft_id == 2);
            let found = (leaves, changes, may_join(&tables, "n2"));
            assert_eq!(found, expect, "{role:?}, to be {desired:?}, member {raft_id}");
        }
    }

    #[test]
    fn a_member_without_a_node_leaves() {
        let (tables, mut members) = tables(&[(Manager, Manager, 1)]);
        members.push(RaftMember { raft_id: 9, node_id: "gone".to_owned(), ..Default::default() });
        let left: Vec<u64> =
            leaving(&tables, members).into_iter().map(|member| member.raft_id).collect();
        assert_eq!(left, [9]);
        assert!(!may_join(&tables, "gone"));
    }

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

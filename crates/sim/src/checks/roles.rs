//! No role without a certificate for it: who joins the managers' group is a manager, and was given a manager's
//! certificate; whoever is demoted has left the group before its role changes.

use std::collections::BTreeSet;

use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::{Node, NodeRole, RaftMember};
use swarm_raft::Members;
use swarm_store::{Change, Commit, Delta, Tables};

/// Who was ever given a manager's certificate.
#[derive(Debug, Default)]
pub(crate) struct Certified(BTreeSet<String>);

impl Certified {
    /// Takes note of the certificates that a commit issues.
    pub(crate) fn see(&mut self, commit: &Commit) {
        for change in commit.changes.iter() {
            if let Change::Node(Delta { new: Some(node), .. }) = change
                && is_issued_to_manager(node)
            {
                self.0.insert(node.id.clone());
            }
        }
    }

    /// A member joins the group while these are the tables.
    pub(crate) fn check_join(&self, tables: &Tables, member: &RaftMember) -> Result<(), String> {
        // The founder is a member before there is anything.
        if tables.cluster().is_none() {
            return Ok(());
        }
        let id = &member.node_id;
        let raft_id = member.raft_id;
        let Some(node) = tables.get::<Node>(id) else {
            return Err(format!("roles have certificates: {id} joins as {raft_id} and is no node"));
        };
        if !self.0.contains(id) && !is_issued_to_manager(node) {
            return Err(format!(
                "roles have certificates: {id} joins as {raft_id} and never had a manager's certificate"
            ));
        }
        if node.role() != NodeRole::Manager {
            return Err(format!(
                "roles have certificates: {id} joins as {raft_id} and is a worker"
            ));
        }
        Ok(())
    }
}

fn is_issued_to_manager(node: &Node) -> bool {
    node.certificate.as_ref().is_some_and(|certificate| {
        let status = certificate.status.as_ref();
        certificate.role() == NodeRole::Manager
            && !certificate.certificate.is_empty()
            && status.is_some_and(|status| status.state() == State::Issued)
    })
}

/// An entry made these tables of those before, while these are the group's members.
pub(crate) fn check_leave(
    before: &Tables,
    after: &Tables,
    members: &Members,
) -> Result<(), String> {
    let was_manager =
        |id: &str| before.get::<Node>(id).is_some_and(|before| before.role() == NodeRole::Manager);
    let workers = after.iter::<Node>().filter(|node| node.role() == NodeRole::Worker);
    for node in workers.filter(|node| was_manager(&node.id)) {
        if members.list().iter().any(|member| member.node_id == node.id) {
            return Err(format!("roles have certificates: {} is a worker and a member", node.id));
        }
    }
    Ok(())
}

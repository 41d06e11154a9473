//! The leader's role manager: brings each node's role in line with the one desired, and the group's members with the
//! nodes.
//!
//! A node is promoted at once: its new role lets it have a manager's certificate, with which it joins the group. A
//! manager is demoted in two steps: it leaves the group, and then its role changes. Mirrors SwarmKit's `role_manager`.

use std::time::Duration;

use swarm_store::{Change, Commit, Delta, Error, Kind, Store, Tables};
use tracing::{info, warn};

use crate::group::Group;
use crate::roles;

/// What could not be done, as a quorum would be lost, is tried again after this. SwarmKit waits 5 s.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Reconciles until the future is dropped, or until the store no longer leads.
pub(crate) async fn run(store: Store, group: Group) {
    let (mut tables, mut watch) = store.view_and_watch(&[Kind::Node]);
    let mut members = group.members.watch();
    loop {
        let settled = match reconcile(&store, &group, &tables).await {
            Ok(settled) => settled,
            Err(Error::NotLeader | Error::LeadershipLost) => return,
            Err(error) => {
                warn!(%error, "a role could not be changed");
                false
            }
        };
        // A role that was written is seen again when it is committed.
        let mut due = !settled;
        while !due {
            tokio::select! {
                commit = watch.next() => due = concerns_roles(&commit),
                changed = members.changed() => if changed.is_ok() { due = true },
            }
        }
        if !settled {
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        tables = store.view();
    }
}

fn concerns_roles(commit: &Commit) -> bool {
    commit.resync
        || commit.changes.iter().any(|change| match change {
            Change::Node(Delta { new: Some(node), .. }) => node.role != roles::desired(node),
            Change::Node(Delta { new: None, .. }) => true,
            _ => false,
        })
}

/// One pass over all nodes and members; tells whether nothing is left to do.
async fn reconcile(store: &Store, group: &Group, tables: &Tables) -> Result<bool, Error> {
    let mut settled = true;
    for member in roles::leaving(tables, group.members.list()) {
        settled &= remove(group, member.raft_id, &member.node_id).await;
    }
    let wrong = roles::wrong(tables, &group.members.list());
    if !wrong.is_empty() {
        store.update(|transaction| roles::correct(transaction, &wrong)).await?;
        info!(nodes = ?wrong, "roles changed");
    }
    Ok(settled)
}

/// Removes a member, or hands over first where it is this one; tells whether it is done.
async fn remove(group: &Group, raft_id: u64, node_id: &str) -> bool {
    let is_own = group.node().is_some_and(|node| node.status().id == raft_id);
    if is_own {
        info!(node.id = node_id, "this manager is demoted; handing leadership over");
        if group.transfer_leadership().await {
            // The next leader goes on from here.
            return false;
        }
    }
    match group.remove(raft_id).await {
        Ok(()) => {
            info!(node.id = node_id, raft.id = raft_id, "a manager left the group");
            true
        }
        Err(error) => {
            warn!(node.id = node_id, %error, "a manager cannot leave the group now");
            false
        }
    }
}

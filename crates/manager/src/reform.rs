//! What the leader of a forced new cluster changes in the store: it is the only manager, whatever roles there were.
//!
//! SwarmKit leaves the lost managers' roles as they are. Here they are demoted: one that comes back is a worker with its
//! tasks, and does not become a voter again by itself, which would put the quorum into the hands of a machine that was
//! just given up. `docker node promote` makes it a manager again.

use swarm_proto::v1::node_spec::{Availability, Membership};
use swarm_proto::v1::{Cluster, Node, NodeRole, NodeSpec};
use swarm_store::{Error, Transaction};

use crate::founding::manager;

/// Makes the node `own` the only manager; does nothing where it is already.
pub(crate) fn reform(transaction: &mut Transaction<'_>, own: &str) -> Result<(), Error> {
    let managers: Vec<Node> = transaction
        .tables()
        .iter::<Node>()
        .filter(|node| node.id != own && desired(node) == NodeRole::Manager)
        .map(|node| Node::clone(node))
        .collect();
    for lost in managers {
        transaction.update(with_role(lost, NodeRole::Worker))?;
    }
    match transaction.tables().get::<Node>(own).map(|node| Node::clone(node)) {
        None => {
            transaction.create(manager(own, Availability::Active, data_path_port(transaction)))?
        }
        Some(node) if desired(&node) != NodeRole::Manager || !is_accepted(&node) => {
            transaction.update(with_role(node, NodeRole::Manager))?;
        }
        Some(_) => {}
    }
    // It may have been removed while its daemon was down, and is now all that there is.
    if let Some(cluster) = transaction.cluster()
        && cluster.blacklisted_certificates.contains_key(own)
    {
        let mut cluster = Cluster::clone(cluster);
        cluster.blacklisted_certificates.remove(own);
        transaction.update(cluster)?;
    }
    Ok(())
}

fn data_path_port(transaction: &Transaction<'_>) -> u32 {
    transaction.cluster().map_or(0, |cluster| cluster.vxlanudp_port)
}

fn with_role(mut node: Node, role: NodeRole) -> Node {
    let spec = node.spec.get_or_insert_with(NodeSpec::default);
    spec.desired_role = role.into();
    if role == NodeRole::Manager {
        spec.membership = Membership::Accepted.into();
    }
    node
}

fn desired(node: &Node) -> NodeRole {
    node.spec.as_ref().map_or(node.role(), NodeSpec::desired_role)
}

fn is_accepted(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.membership() == Membership::Accepted)
}

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

#[cfg(test)]
mod tests {
    use swarm_proto::v1::BlacklistedCertificate;
    use swarm_store::{DEFAULT_CLUSTER_NAME, ImmediateProposer, Store};

    use super::*;

    fn node(id: &str, desired: NodeRole) -> Node {
        with_role(Node { id: id.into(), role: desired.into(), ..Node::default() }, desired)
    }

    async fn store(nodes: &[(&str, NodeRole)]) -> Store {
        let store = ImmediateProposer::store();
        let made = store.update(|transaction| {
            let mut cluster = Cluster { id: "c".into(), ..Cluster::default() };
            let spec = cluster.spec.get_or_insert_default();
            spec.annotations.get_or_insert_default().name = DEFAULT_CLUSTER_NAME.into();
            let removed = BlacklistedCertificate::default();
            cluster.blacklisted_certificates.insert("me".into(), removed);
            cluster.blacklisted_certificates.insert("gone".into(), removed);
            transaction.create(cluster)?;
            nodes.iter().try_for_each(|(id, role)| transaction.create(node(id, *role)))
        });
        made.await.expect("made");
        store
    }

    /// Who is to be what afterwards.
    async fn check(nodes: &[(&str, NodeRole)], expect: &[(&str, NodeRole)]) {
        let store = store(nodes).await;
        for _ in 0..2 {
            store.update(|transaction| reform(transaction, "me")).await.expect("done");
            let tables = store.view();
            let mut found: Vec<_> =
                tables.iter::<Node>().map(|node| (node.id.clone(), desired(node))).collect();
            found.sort();
            let expect: Vec<_> =
                expect.iter().map(|(id, role)| ((*id).to_owned(), *role)).collect();
            assert_eq!(found, expect);
            let cluster = tables.cluster().expect("there");
            let removed: Vec<_> = cluster.blacklisted_certificates.keys().collect();
            assert_eq!(removed, ["gone"]);
        }
    }

    #[tokio::test]
    async fn one_manager_is_left() {
        use NodeRole::{Manager, Worker};
        check(
            &[("a", Manager), ("b", Worker), ("me", Manager)],
            &[("a", Worker), ("b", Worker), ("me", Manager)],
        )
        .await;
        // It was being demoted, or was removed.
        check(&[("a", Manager), ("me", Worker)], &[("a", Worker), ("me", Manager)]).await;
        check(&[("a", Manager)], &[("a", Worker), ("me", Manager)]).await;
    }
}

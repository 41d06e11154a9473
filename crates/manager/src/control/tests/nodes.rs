//! Nodes: update, demotion and removal by the rules.

use super::*;

#[tokio::test]
async fn nodes_are_changed_and_removed_by_the_rules() {
    let (store, mut client) = cluster().await;
    let request = GetNodeRequest { node_id: "manager".into() };
    let manager = client.get_node(request).await.expect("found").into_inner().node.expect("a node");
    assert_eq!(manager.manager_status.as_ref().map(|status| status.raft_id), Some(7));
    let update = |node_id: &str, version: u64, spec: NodeSpec| UpdateNodeRequest {
        node_id: node_id.into(),
        node_version: Some(Version { index: version }),
        spec: Some(spec),
    };
    let drained = NodeSpec {
        availability: node_spec::Availability::Drain.into(),
        desired_role: NodeRole::Manager.into(),
        ..Default::default()
    };
    let version = manager.version();
    client.update_node(update("manager", version, drained.clone())).await.expect("drained");
    refused(
        client.update_node(update("manager", version, drained)).await,
        "Unknown desc = update out of sequence",
    );
    refused(
        client.update_node(update("manager", version, NodeSpec::default())).await,
        "FailedPrecondition desc = attempting to demote the last manager of the swarm",
    );
    let worker = store.view().get::<Node>("worker").expect("there").version();
    let promoted = NodeSpec { desired_role: NodeRole::Manager.into(), ..Default::default() };
    let promoted = client.update_node(update("worker", worker, promoted)).await.expect("promoted");
    let promoted = promoted.into_inner().node.expect("a node");
    assert_eq!(promoted.spec.as_ref().map(NodeSpec::desired_role), Some(NodeRole::Manager));
    assert_eq!(promoted.role(), NodeRole::Worker, "the role manager's business");
    let task = Task { id: "t".into(), node_id: "worker".into(), ..Default::default() };
    store.update(|tx| tx.create(task)).await.expect("written");
    let remove = |id: &str, force| RemoveNodeRequest { node_id: id.into(), force };
    for (request, expect) in [
        (remove("", false), "InvalidArgument desc = invalid argument"),
        (remove("nobody", false), "NotFound desc = node nobody not found"),
        (
            remove("worker", false),
            "FailedPrecondition desc = node worker is not down and can't be removed",
        ),
        (
            remove("manager", true),
            "FailedPrecondition desc = node manager is a cluster manager and is a member of the raft cluster. \
             It must be demoted to worker before removal",
        ),
    ] {
        refused(client.remove_node(request).await, expect);
    }
    client.remove_node(remove("worker", true)).await.expect("removed");
    let tables = store.view();
    assert!(tables.get::<Node>("worker").is_none());
    assert!(tables.cluster().expect("there").blacklisted_certificates.contains_key("worker"));
    let status = tables.get::<Task>("t").and_then(|task| task.status.clone()).expect("a status");
    assert_eq!(status.state(), TaskState::Orphaned);
}

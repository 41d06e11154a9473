//! The cluster object, who is served, and what isn't there.

use super::*;

#[tokio::test]
async fn join_tokens_rotate_and_keys_stay_inside() {
    let (store, mut client) = cluster().await;
    let list = client.list_clusters(ListClustersRequest::default()).await.expect("listed");
    let shown = list.into_inner().clusters.remove(0);
    let before = shown.root_ca.as_ref().and_then(|root| root.join_tokens.clone()).expect("tokens");
    assert!(shown.root_ca.as_ref().is_some_and(|root| root.ca_key.is_empty()));
    assert_eq!(
        (shown.default_address_pool.as_slice(), shown.subnet_size),
        (&["10.0.0.0/8".to_owned()][..], 24)
    );
    let update = |spec: ClusterSpec| UpdateClusterRequest {
        cluster_id: CLUSTER.into(),
        cluster_version: Some(Version { index: shown.version() }),
        spec: Some(spec),
        rotation: Some(KeyRotation { worker_join_token: true, ..Default::default() }),
    };
    let spec = shown.spec.clone().expect("a spec");
    let key_only = ClusterSpec {
        ca_config: Some(CaConfig { signing_ca_key: b"key".into(), ..Default::default() }),
        ..spec.clone()
    };
    let external = |url: &str| {
        let external = ExternalCa { url: url.to_owned(), ..Default::default() };
        let ca_config = Some(CaConfig { external_cas: vec![external], ..Default::default() });
        ClusterSpec { ca_config, ..spec.clone() }
    };
    let minute = prost_types::Duration { seconds: 60, nanos: 0 };
    let short = ClusterSpec {
        ca_config: Some(CaConfig { node_cert_expiry: Some(minute), ..Default::default() }),
        ..spec.clone()
    };
    let renamed = ClusterSpec { annotations: annotations("mine"), ..spec.clone() };
    for (spec, expect) in [
        (
            key_only,
            "InvalidArgument desc = if a signing CA key is provided, the signing CA cert must also be provided",
        ),
        (
            external("http://ca"),
            "InvalidArgument desc = invalid external CA URL \"http://ca\": it must begin with https:// and name a host",
        ),
        (short, "InvalidArgument desc = minimum certificate expiry time is: 1h0m0s"),
        (renamed, "InvalidArgument desc = modification of cluster name is not allowed"),
    ] {
        refused(client.update_cluster(update(spec)).await, expect);
    }
    client.update_cluster(update(spec.clone())).await.expect("rotated");
    let tables = store.view();
    let root = tables.cluster().and_then(|cluster| cluster.root_ca.clone()).expect("a root");
    let after = root.join_tokens.expect("tokens");
    assert!(
        after.worker != before.worker && after.manager == before.manager && !root.ca_key.is_empty()
    );
    let digests =
        [&after.worker, &before.worker].map(|t| JoinToken::parse(t).map(|t| t.digest()).ok());
    assert_eq!(digests[0], digests[1]);
    refused(client.update_cluster(update(spec)).await, "Unknown desc = update out of sequence");
}

#[tokio::test]
async fn the_unlock_key_comes_changes_and_goes_with_the_setting() {
    let (store, mut client) = cluster().await;
    let mut keys: Vec<Option<Vec<u8>>> = Vec::new();
    for (locks, rotate) in
        [(false, true), (true, false), (true, false), (true, true), (false, false), (true, true)]
    {
        let tables = store.view();
        let cluster = tables.cluster().expect("a cluster");
        let request = UpdateClusterRequest {
            cluster_id: CLUSTER.into(),
            cluster_version: Some(Version { index: cluster.version() }),
            spec: Some(ClusterSpec {
                encryption_config: Some(EncryptionConfig { auto_lock_managers: locks }),
                ..cluster.spec.clone().expect("a spec")
            }),
            rotation: Some(KeyRotation { manager_unlock_key: rotate, ..Default::default() }),
        };
        let shown = client.update_cluster(request).await.expect("updated").into_inner().cluster;
        assert!(shown.expect("a cluster").unlock_keys.is_empty(), "keys stay inside");
        let tables = store.view();
        let stored = &tables.cluster().expect("a cluster").unlock_keys;
        assert!(stored.len() <= 1 && stored.iter().all(|key| key.subsystem == "swarm-manager"));
        keys.push(stored.first().map(|key| key.key.clone()));
    }
    assert!(keys[0].is_none() && keys[4].is_none());
    assert!(keys[1].as_ref().is_some_and(|key| key.len() == 32));
    assert_eq!(keys[1], keys[2]);
    assert!(keys[3].is_some() && keys[3] != keys[2] && keys[5] != keys[3] && keys[5].is_some());
}

#[tokio::test]
async fn only_managers_of_this_cluster_are_served() {
    let (store, mut client) = cluster().await;
    client.list_nodes(ListNodesRequest::default()).await.expect("served");
    for (role, organization) in [(Role::Worker, CLUSTER), (Role::Manager, "other")] {
        let mut client = channel(&store, role, organization);
        let status = client.list_nodes(ListNodesRequest::default()).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
    }
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let (_, mut client) = cluster().await;
    let overlay = NetworkSpec { annotations: annotations("net"), ..Default::default() };
    refused(
        client.create_network(CreateNetworkRequest { spec: Some(overlay) }).await,
        "Unimplemented desc = networks of the swarm (overlay, ingress) are not supported yet",
    );
    refused(
        client.list_volumes(ListVolumesRequest::default()).await,
        "Unimplemented desc = cluster volumes are not supported",
    );
}

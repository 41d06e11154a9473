//! The service as its clients meet it: every call goes through the generated client and server.

use std::sync::Arc;

use swarm_ca::{Identity, JoinToken, Role, RootCa as Authority, rpc_error_text};
use swarm_proto::Channel;
use swarm_proto::v1::control_client::ControlClient;
use swarm_proto::v1::endpoint_spec::ResolutionMode;
use swarm_proto::v1::node_status::State as NodeState;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::update_service_request::Rollback;
use swarm_proto::v1::*;
use swarm_store::{ImmediateProposer, Object, Store};
use tonic::Status;

use super::{Control, RaftMember, RaftMembership};

const CLUSTER: &str = "cluster1";

fn annotations(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Default::default() })
}

fn spec(name: &str) -> ServiceSpec {
    let container = ContainerSpec { image: "alpine".into(), ..Default::default() };
    ServiceSpec {
        annotations: annotations(name),
        task: Some(TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 2 })),
        ..Default::default()
    }
}

fn container(spec: &mut ServiceSpec) -> &mut ContainerSpec {
    match spec.task.as_mut().and_then(|task| task.runtime.as_mut()) {
        Some(Runtime::Container(container)) => container,
        _ => panic!("the spec is a container's"),
    }
}

fn port(published: u32, mode: PublishMode) -> PortConfig {
    PortConfig {
        published_port: published,
        target_port: 80,
        publish_mode: mode.into(),
        ..Default::default()
    }
}

fn with_ports(name: &str, ports: Vec<PortConfig>) -> ServiceSpec {
    ServiceSpec { endpoint: Some(EndpointSpec { ports, ..Default::default() }), ..spec(name) }
}

/// One member, which must stay.
struct OneMember;

impl RaftMembership for OneMember {
    fn members(&self) -> Vec<RaftMember> {
        let status = ManagerStatus { raft_id: 7, leader: true, ..Default::default() };
        vec![RaftMember { node_id: "manager".into(), status }]
    }

    fn can_remove(&self, _raft_id: u64) -> bool {
        false
    }
}

fn channel(store: &Store, role: Role, organization: &str) -> ControlClient<Channel> {
    let control = Control::new(store.clone(), CLUSTER, Some(Arc::new(OneMember)));
    let identity = Identity { node_id: "manager".into(), role, organization: organization.into() };
    ControlClient::new(control.local(identity))
}

/// A cluster with one manager and one worker, and its client.
async fn cluster() -> (Store, ControlClient<Channel>) {
    let store = ImmediateProposer::store();
    let root = Authority::create().expect("created");
    let token = || JoinToken::generate(root.digest()).to_string();
    let cluster = Cluster {
        id: CLUSTER.into(),
        spec: Some(ClusterSpec { annotations: annotations("default"), ..Default::default() }),
        root_ca: Some(RootCa {
            ca_cert: root.certificates_pem().to_vec(),
            ca_key: root.key_pem().expect("a key").to_vec(),
            join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let node = |id: &str, role: NodeRole| Node {
        id: id.into(),
        role: role.into(),
        spec: Some(NodeSpec { desired_role: role.into(), ..Default::default() }),
        status: Some(NodeStatus { state: NodeState::Ready.into(), ..Default::default() }),
        ..Default::default()
    };
    let written = store.update(|tx| {
        tx.create(cluster)?;
        tx.create(node("manager", NodeRole::Manager))?;
        tx.create(node("worker", NodeRole::Worker))
    });
    written.await.expect("written");
    let client = channel(&store, Role::Manager, CLUSTER);
    (store, client)
}

#[track_caller]
fn refused<T>(result: Result<T, Status>, expect: &str) {
    let status = result.err().unwrap_or_else(|| panic!("should be refused: {expect}"));
    assert_eq!(rpc_error_text(&status), format!("rpc error: code = {expect}"));
}

async fn create(client: &mut ControlClient<Channel>, spec: ServiceSpec) -> Result<Service, Status> {
    let answer = client.create_service(CreateServiceRequest { spec: Some(spec) }).await?;
    Ok(answer.into_inner().service.expect("a service"))
}

fn update_of(service: &Service, spec: ServiceSpec) -> UpdateServiceRequest {
    UpdateServiceRequest {
        service_id: service.id.clone(),
        service_version: Some(Version { index: service.version() }),
        spec: Some(spec),
        ..Default::default()
    }
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
async fn services_are_created_updated_and_removed() {
    let (_, mut client) = cluster().await;
    let first = create(&mut client, spec("web")).await.expect("created");
    refused(
        create(&mut client, spec("WEB")).await,
        "AlreadyExists desc = name conflicts with an existing object: service WEB already exists",
    );
    let mut wanted = spec("web");
    wanted.mode = Some(Mode::Replicated(ReplicatedService { replicas: 5 }));
    let answer = client.update_service(update_of(&first, wanted.clone())).await.expect("updated");
    let second = answer.into_inner().service.expect("a service");
    assert_eq!((&second.spec, &second.previous_spec), (&Some(wanted.clone()), &first.spec));
    assert_eq!(second.spec_version.map(|v| v.index), Some(first.version()));
    refused(
        client.update_service(update_of(&first, wanted)).await,
        "Unknown desc = update out of sequence",
    );
    let rollback = UpdateServiceRequest {
        rollback: Rollback::Previous.into(),
        ..update_of(&second, spec("web"))
    };
    let third = client.update_service(rollback).await.expect("rolled back").into_inner().service;
    let third = third.expect("a service");
    assert_eq!((&third.spec, &third.previous_spec), (&first.spec, &second.spec));
    assert_eq!(
        third.update_status.map(|s| s.message).as_deref(),
        Some("manually requested rollback")
    );
    let get = GetServiceRequest { service_id: first.id.clone(), insert_defaults: true };
    let shown = client.get_service(get.clone()).await.expect("found").into_inner().service;
    assert_eq!(shown.and_then(|s| s.spec?.update).map(|update| update.parallelism), Some(1));
    let remove = RemoveServiceRequest { service_id: first.id.clone() };
    client.remove_service(remove.clone()).await.expect("removed");
    let gone = format!("NotFound desc = service {} not found", first.id);
    refused(client.remove_service(remove).await, &gone);
    refused(client.get_service(get).await, &gone);
}

#[tokio::test]
async fn malformed_services_are_refused() {
    let (store, mut client) = cluster().await;
    type Spoil = fn(&mut ServiceSpec);
    let cases: Vec<(Spoil, &str)> = vec![
        (|s| s.annotations = None, "meta: name must be provided"),
        (|s| s.annotations = annotations("a.b"), "name must be valid as a DNS name component"),
        (|s| s.task = None, "TaskSpec: missing runtime"),
        (|s| s.mode = None, "Unrecognized service mode"),
        (
            |s| s.mode = Some(Mode::Replicated(ReplicatedService { replicas: u64::MAX })),
            "Number of replicas must be non-negative",
        ),
        (|s| container(s).image.clear(), "ContainerSpec: image reference must be provided"),
        (
            |s| container(s).image = "no image".into(),
            "ContainerSpec: \"no image\" is not a valid repository/tag",
        ),
        (
            |s| container(s).mounts = vec![Mount { target: "/x".into(), ..Default::default() }; 2],
            "ContainerSpec: duplicate mount point: /x",
        ),
        (
            |s| {
                let interval = Some(prost_types::Duration { seconds: 0, nanos: 1 });
                container(s).healthcheck = Some(HealthConfig { interval, ..Default::default() });
            },
            "ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
        ),
        (
            |s| {
                let limits = Some(Resources { nano_cpus: 1000, ..Default::default() });
                let resources = ResourceRequirements { limits, ..Default::default() };
                s.task.as_mut().expect("a task").resources = Some(resources);
            },
            "invalid cpu value 1e-06: Must be at least 0.001",
        ),
        (
            |s| {
                let reservations = Some(Resources { memory_bytes: 1, ..Default::default() });
                let resources = ResourceRequirements { reservations, ..Default::default() };
                s.task.as_mut().expect("a task").resources = Some(resources);
            },
            "invalid memory value 1: Must be at least 4MiB",
        ),
        (
            |s| {
                let delay = Some(prost_types::Duration { seconds: -1, nanos: 0 });
                s.update = Some(UpdateConfig { delay, ..Default::default() });
            },
            "TaskSpec: update-delay cannot be negative",
        ),
        (
            |s| s.update = Some(UpdateConfig { max_failure_ratio: 1.5, ..Default::default() }),
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (
            |s| {
                s.mode = Some(Mode::GlobalJob(GlobalJob {}));
                s.update = Some(UpdateConfig::default());
            },
            "Jobs may not have an update config",
        ),
        (
            |s| *s = with_ports("web", vec![port(80, PublishMode::Host); 2]),
            "EndpointSpec: duplicate published ports provided",
        ),
        (
            |s| {
                *s = with_ports("web", vec![port(80, PublishMode::Ingress)]);
                s.endpoint.as_mut().expect("ports").set_mode(ResolutionMode::Dnsrr);
            },
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        (
            |s| {
                container(s).secrets = vec![SecretReference {
                    secret_id: "s".into(),
                    secret_name: "password".into(),
                    target: Some(secret_reference::Target::File(FileTarget {
                        name: "p".into(),
                        ..Default::default()
                    })),
                }];
            },
            "secret not found: password",
        ),
        (|s| container(s).configs = vec![ConfigReference::default()], "malformed config reference"),
    ];
    for (spoil, expect) in cases {
        let mut spoilt = spec("web");
        spoil(&mut spoilt);
        refused(create(&mut client, spoilt).await, &format!("InvalidArgument desc = {expect}"));
    }
    let mut constrained = spec("web");
    let placement = Placement { constraints: vec!["node.role".into()], ..Default::default() };
    constrained.task.as_mut().expect("a task").placement = Some(placement);
    refused(
        create(&mut client, constrained).await,
        "Unknown desc = constraint expected one operator from ==, !=",
    );
    assert_eq!(store.view().len::<Service>(), 0);
}

#[tokio::test]
async fn changes_that_need_a_new_service_are_refused() {
    let (_, mut client) = cluster().await;
    let service = create(&mut client, spec("web")).await.expect("created");
    let global = ServiceSpec { mode: Some(Mode::Global(GlobalService {})), ..spec("web") };
    for (wanted, expect) in [
        (spec("api"), "Unimplemented desc = renaming services is not supported"),
        (global, "Unimplemented desc = service mode change is not allowed"),
    ] {
        refused(client.update_service(update_of(&service, wanted)).await, expect);
    }
    let nobody = Service { id: "nobody".into(), ..service };
    refused(
        client.update_service(update_of(&nobody, spec("web"))).await,
        "NotFound desc = service nobody not found",
    );
}

#[tokio::test]
async fn published_ports_collide() {
    let (store, mut client) = cluster().await;
    refused(
        create(&mut client, with_ports("web", vec![port(80, PublishMode::Ingress)])).await,
        "FailedPrecondition desc = service needs ingress network, but no ingress network is present",
    );
    let network =
        NetworkSpec { annotations: annotations("ingress"), ingress: true, ..Default::default() };
    let network = Network { id: "ingress".into(), spec: Some(network), ..Default::default() };
    store.update(|tx| tx.create(network)).await.expect("written");
    let first =
        with_ports("first", vec![port(80, PublishMode::Ingress), port(81, PublishMode::Host)]);
    let first = create(&mut client, first).await.expect("created");
    for (number, mode, kind) in [
        (80, PublishMode::Ingress, Some("an ingress")),
        (80, PublishMode::Host, Some("an ingress")),
        (81, PublishMode::Ingress, Some("a host-published")),
        (81, PublishMode::Host, None),
    ] {
        let result = create(&mut client, with_ports("second", vec![port(number, mode)])).await;
        match kind {
            None => drop(result.expect("created")),
            Some(kind) => refused(
                result,
                &format!(
                    "InvalidArgument desc = port '{number}' is already in use by service 'first' ({}) as {kind} port",
                    first.id
                ),
            ),
        }
    }
}

#[tokio::test]
async fn lists_are_filtered() {
    let (store, mut client) = cluster().await;
    let mut labelled = spec("web");
    labelled.annotations.as_mut().expect("a name").labels.insert("tier".into(), "front".into());
    let web = create(&mut client, labelled).await.expect("created");
    create(&mut client, spec("worker")).await.expect("created");
    let running = |id: &str, desired: TaskState, state: TaskState| Task {
        id: id.into(),
        service_id: web.id.clone(),
        node_id: "worker".into(),
        slot: 1,
        desired_state: desired.into(),
        service_annotations: annotations("web"),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        ..Default::default()
    };
    let tasks = [
        running("t1", TaskState::Running, TaskState::Running),
        running("t2", TaskState::Shutdown, TaskState::Failed),
    ];
    store
        .update(|tx| tasks.into_iter().try_for_each(|task| tx.create(task)))
        .await
        .expect("written");
    use list_services_request::Filters;
    let name = |name: &str| vec![name.to_owned()];
    for (filters, expect) in [
        (Filters::default(), 2),
        (Filters { names: name("web"), ..Default::default() }, 1),
        (Filters { name_prefixes: name("w"), ..Default::default() }, 2),
        (Filters { id_prefixes: name(&web.id[..6]), ..Default::default() }, 1),
        (Filters { labels: [("tier".to_owned(), String::new())].into(), ..Default::default() }, 1),
        (
            Filters {
                labels: [("tier".to_owned(), "back".to_owned())].into(),
                ..Default::default()
            },
            0,
        ),
        (Filters { runtimes: name("container"), ..Default::default() }, 2),
        (Filters { runtimes: name("attachment"), ..Default::default() }, 0),
    ] {
        let request = ListServicesRequest { filters: Some(filters.clone()) };
        let found =
            client.list_services(request).await.expect("listed").into_inner().services.len();
        assert_eq!(found, expect, "{filters:?}");
    }
    use list_tasks_request::Filters as TaskFilters;
    for (filters, expect) in [
        (TaskFilters::default(), 2),
        (TaskFilters { names: name("web.1.t1"), ..Default::default() }, 1),
        (TaskFilters { service_ids: name(&web.id), ..Default::default() }, 2),
        (TaskFilters { service_ids: name("other"), ..Default::default() }, 0),
        (TaskFilters { node_ids: name("worker"), ..Default::default() }, 2),
        (TaskFilters { desired_states: vec![TaskState::Running.into()], ..Default::default() }, 1),
    ] {
        let request = ListTasksRequest { filters: Some(filters.clone()) };
        let found = client.list_tasks(request).await.expect("listed").into_inner().tasks.len();
        assert_eq!(found, expect, "{filters:?}");
    }
    let request = ListServiceStatusesRequest { services: vec![web.id.clone(), "gone".into()] };
    let statuses =
        client.list_service_statuses(request).await.expect("listed").into_inner().statuses;
    let counts: Vec<_> = statuses.iter().map(|s| (s.desired_tasks, s.running_tasks)).collect();
    assert_eq!(counts, [(2, 1), (0, 0)]);
}

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
    let locked = ClusterSpec {
        encryption_config: Some(EncryptionConfig { auto_lock_managers: true }),
        ..spec.clone()
    };
    let minute = prost_types::Duration { seconds: 60, nanos: 0 };
    let short = ClusterSpec {
        ca_config: Some(CaConfig { node_cert_expiry: Some(minute), ..Default::default() }),
        ..spec.clone()
    };
    let renamed = ClusterSpec { annotations: annotations("mine"), ..spec.clone() };
    for (spec, expect) in [
        (locked, "Unimplemented desc = autolock of managers is not supported yet"),
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
async fn secrets_never_show_their_data() {
    let (store, mut client) = cluster().await;
    let wanted = SecretSpec {
        annotations: annotations("password"),
        data: b"x".to_vec(),
        ..Default::default()
    };
    let create_secret = |spec: SecretSpec| CreateSecretRequest { spec: Some(spec) };
    let answer = client.create_secret(create_secret(wanted.clone())).await.expect("created");
    let secret = answer.into_inner().secret.expect("a secret");
    let data =
        |secret: &Secret| secret.spec.as_ref().map(|spec| spec.data.clone()).unwrap_or_default();
    assert!(data(&secret).is_empty());
    assert_eq!(
        store.view().get::<Secret>(&secret.id).map(|stored| data(stored)),
        Some(b"x".to_vec())
    );
    let listed =
        client.list_secrets(ListSecretsRequest::default()).await.expect("listed").into_inner();
    assert!(listed.secrets.len() == 1 && data(&listed.secrets[0]).is_empty());
    let oversized = SecretSpec {
        data: vec![0; 500 * 1024],
        annotations: annotations("big"),
        ..Default::default()
    };
    for (spec, expect) in [
        (wanted.clone(), "AlreadyExists desc = secret password already exists"),
        (
            oversized,
            "InvalidArgument desc = secret data must be larger than 0 and less than 512000 bytes",
        ),
        (SecretSpec::default(), "InvalidArgument desc = name must be provided"),
    ] {
        refused(client.create_secret(create_secret(spec)).await, expect);
    }
    let changed = SecretSpec { data: b"y".to_vec(), ..wanted.clone() };
    let update = |spec| UpdateSecretRequest {
        secret_id: secret.id.clone(),
        secret_version: Some(Version { index: secret.version() }),
        spec: Some(spec),
    };
    refused(
        client.update_secret(update(changed)).await,
        "InvalidArgument desc = only updates to Labels are allowed",
    );
    let mut user = spec("web");
    container(&mut user).secrets = vec![SecretReference {
        secret_id: secret.id.clone(),
        secret_name: "password".into(),
        target: Some(secret_reference::Target::File(FileTarget {
            name: "p".into(),
            ..Default::default()
        })),
    }];
    let service = create(&mut client, user).await.expect("created");
    let remove = RemoveSecretRequest { secret_id: secret.id.clone() };
    refused(
        client.remove_secret(remove.clone()).await,
        "InvalidArgument desc = secret 'password' is in use by the following service: web",
    );
    client.remove_service(RemoveServiceRequest { service_id: service.id }).await.expect("removed");
    client.remove_secret(remove.clone()).await.expect("removed");
    let gone = format!("NotFound desc = could not find secret {}", secret.id);
    refused(client.remove_secret(remove).await, &gone);
    let empty = GetSecretRequest { secret_id: String::new() };
    refused(client.get_secret(empty).await, "InvalidArgument desc = secret ID must be provided");
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

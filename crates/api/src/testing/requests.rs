//! What clients get: headers, JSON as Docker writes it, streams.

use axum::body::Body;
use expect_test::{Expect, expect};
use http::{Method, Request};
use http_body_util::BodyExt;
use prost_types::Timestamp;
use swarm_proto::v1;
use tonic::Code;

use super::{Api, FakeControl};

pub(super) fn meta(index: u64) -> Option<v1::Meta> {
    let time = Some(Timestamp { seconds: 1_700_000_000, nanos: 5 });
    Some(v1::Meta { version: Some(v1::Version { index }), created_at: time, updated_at: time })
}

pub(super) fn annotations(name: &str) -> Option<v1::Annotations> {
    Some(v1::Annotations { name: name.to_owned(), ..Default::default() })
}

pub(super) fn service() -> v1::Service {
    let container = v1::ContainerSpec { image: "alpine".to_owned(), ..Default::default() };
    let task = v1::TaskSpec {
        runtime: Some(v1::task_spec::Runtime::Container(container)),
        ..Default::default()
    };
    let mode = v1::service_spec::Mode::Replicated(v1::ReplicatedService { replicas: 2 });
    let spec = v1::ServiceSpec {
        annotations: annotations("web"),
        task: Some(task.into()),
        mode: Some(mode),
        ..Default::default()
    };
    v1::Service {
        id: "service1".to_owned(),
        meta: meta(11),
        spec: Some(spec),
        ..Default::default()
    }
}

pub(super) fn node() -> v1::Node {
    v1::Node {
        id: "node1".to_owned(),
        meta: meta(9),
        spec: Some(v1::NodeSpec { desired_role: 1, ..Default::default() }),
        description: Some(v1::NodeDescription {
            hostname: "host1".to_owned(),
            platform: Some(v1::Platform {
                architecture: "x86_64".to_owned(),
                os: "linux".to_owned(),
            }),
            resources: Some(v1::Resources {
                nano_cpus: 2_000_000_000,
                memory_bytes: 1 << 30,
                generic: vec![],
            }),
            engine: Some(v1::EngineDescription {
                engine_version: "1.0".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        status: Some(v1::NodeStatus {
            state: 2,
            message: String::new(),
            addr: "10.0.0.1".to_owned(),
            ..Default::default()
        }),
        manager_status: Some(v1::ManagerStatus {
            raft_id: 7,
            addr: "10.0.0.1:2377".to_owned(),
            leader: true,
            reachability: 2,
        }),
        ..Default::default()
    }
}

pub(super) fn task() -> v1::Task {
    v1::Task {
        id: "task1".to_owned(),
        meta: meta(12),
        spec: service().spec.and_then(|spec| spec.task),
        service_id: "service1".to_owned(),
        slot: 1,
        node_id: "node1".to_owned(),
        annotations: Some(Box::default()),
        status: Some(v1::TaskStatus {
            timestamp: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            state: v1::TaskState::Running.into(),
            message: "started".to_owned(),
            ..Default::default()
        }),
        desired_state: v1::TaskState::Running.into(),
        ..Default::default()
    }
}

pub(super) fn cluster() -> v1::Cluster {
    v1::Cluster {
        id: "cluster1".to_owned(),
        meta: meta(3),
        spec: Some(crate::convert::swarm::default_spec()),
        root_ca: Some(v1::RootCa {
            join_tokens: Some(v1::JoinTokens {
                worker: "SWMTKN-w".to_owned(),
                manager: "SWMTKN-m".to_owned(),
            }),
            ca_key: b"secret".to_vec(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A manager of one node and one service with one task.
pub(super) fn control() -> FakeControl {
    let status = v1::list_service_statuses_response::ServiceStatus {
        service_id: "service1".to_owned(),
        desired_tasks: 2,
        running_tasks: 1,
        completed_tasks: 0,
    };
    FakeControl::default()
        .answers("ListClusters", &v1::ListClustersResponse { clusters: vec![cluster()] })
        .answers("ListNodes", &v1::ListNodesResponse { nodes: vec![node()] })
        .answers("ListServices", &v1::ListServicesResponse { services: vec![service()] })
        .answers("ListServiceStatuses", &v1::ListServiceStatusesResponse { statuses: vec![status] })
        .answers("ListTasks", &v1::ListTasksResponse { tasks: vec![task()] })
        .answers("ListNetworks", &v1::ListNetworksResponse::default())
        .answers("GetService", &v1::GetServiceResponse { service: Some(service()) })
        .answers("UpdateCluster", &v1::UpdateClusterResponse::default())
        .answers("UpdateService", &v1::UpdateServiceResponse::default())
        .answers("CreateService", &v1::CreateServiceResponse { service: Some(service()) })
        .answers("RemoveService", &v1::RemoveServiceResponse::default())
}

async fn check(api: &Api, method: Method, uri: &str, body: &str, expect: Expect) {
    let (status, text) = api.call(method, uri, body).await;
    expect.assert_eq(
        &format!("{status} {text}")
            .replace("\r\n", "\n")
            .replace(|c: char| c.is_control() && c != '\n', "."),
    );
}

#[tokio::test]
async fn ping() {
    for (api, swarm) in [(Api::alone(), "inactive"), (Api::manager(control()), "active/manager")] {
        for method in [Method::GET, Method::HEAD] {
            let request =
                Request::builder().method(method.clone()).uri("/_ping").body(Body::empty());
            let response = api.send(request.expect("request")).await;
            let headers = response.headers().clone();
            assert_eq!(headers["swarm"], swarm);
            assert_eq!(headers["api-version"], "1.51");
            assert_eq!(headers["ostype"], "linux");
            assert_eq!(headers["docker-experimental"], "false");
            assert!(headers["server"].to_str().expect("text").starts_with("Docker/"));
            let body = response.into_body().collect().await.expect("body").to_bytes();
            assert_eq!(&body[..], if method == Method::GET { b"OK".as_slice() } else { b"" });
        }
    }
}

#[tokio::test]
async fn objects_of_the_cluster() {
    let api = Api::manager(control());
    check(&api, Method::GET, "/services?status=true", "", expect![[r#"200 [{"ID":"service1","Version":{"Index":11},"CreatedAt":"2023-11-14T22:13:20.000000005Z","UpdatedAt":"2023-11-14T22:13:20.000000005Z","Spec":{"Name":"web","Labels":{},"TaskTemplate":{"ContainerSpec":{"Image":"alpine","Isolation":"default"},"ForceUpdate":0,"Runtime":"container"},"Mode":{"Replicated":{"Replicas":2}}},"Endpoint":{"Spec":{}},"ServiceStatus":{"RunningTasks":1,"DesiredTasks":2,"CompletedTasks":0}}]"#]]).await;
    check(&api, Method::GET, "/services/web?insertDefaults=true", "", expect![[r#"200 {"ID":"service1","Version":{"Index":11},"CreatedAt":"2023-11-14T22:13:20.000000005Z","UpdatedAt":"2023-11-14T22:13:20.000000005Z","Spec":{"Name":"web","Labels":{},"TaskTemplate":{"ContainerSpec":{"Image":"alpine","Isolation":"default"},"ForceUpdate":0,"Runtime":"container"},"Mode":{"Replicated":{"Replicas":2}}},"Endpoint":{"Spec":{}}}"#]]).await;
    check(&api, Method::GET, "/nodes/self", "", expect![[r#"200 {"ID":"node1","Version":{"Index":9},"CreatedAt":"2023-11-14T22:13:20.000000005Z","UpdatedAt":"2023-11-14T22:13:20.000000005Z","Spec":{"Labels":{},"Role":"manager","Availability":"active"},"Description":{"Hostname":"host1","Platform":{"Architecture":"x86_64","OS":"linux"},"Resources":{"NanoCPUs":2000000000,"MemoryBytes":1073741824},"Engine":{"EngineVersion":"1.0"},"TLSInfo":{}},"Status":{"State":"ready","Addr":"10.0.0.1"},"ManagerStatus":{"Leader":true,"Reachability":"reachable","Addr":"10.0.0.1:2377"}}"#]]).await;
    check(&api, Method::GET, "/tasks", "", expect![[r#"200 [{"ID":"task1","Version":{"Index":12},"CreatedAt":"2023-11-14T22:13:20.000000005Z","UpdatedAt":"2023-11-14T22:13:20.000000005Z","Labels":{},"Spec":{"ContainerSpec":{"Image":"alpine","Isolation":"default"},"ForceUpdate":0},"ServiceID":"service1","Slot":1,"NodeID":"node1","Status":{"Timestamp":"2023-11-14T22:13:20Z","State":"running","Message":"started","PortStatus":{}},"DesiredState":"running","Volumes":null}]"#]]).await;
    check(&api, Method::GET, "/swarm", "", expect![[r#"200 {"ID":"cluster1","Version":{"Index":3},"CreatedAt":"2023-11-14T22:13:20.000000005Z","UpdatedAt":"2023-11-14T22:13:20.000000005Z","Spec":{"Name":"default","Labels":{},"Orchestration":{"TaskHistoryRetentionLimit":5},"Raft":{"SnapshotInterval":10000,"KeepOldSnapshots":0,"LogEntriesForSlowFollowers":500,"ElectionTick":10,"HeartbeatTick":1},"Dispatcher":{"HeartbeatPeriod":5000000000},"CAConfig":{"NodeCertExpiry":7776000000000000},"TaskDefaults":{},"EncryptionConfig":{"AutoLockManagers":false}},"TLSInfo":{},"RootRotationInProgress":false,"DefaultAddrPool":[],"SubnetSize":0,"DataPathPort":0,"JoinTokens":{"Worker":"SWMTKN-w","Manager":"SWMTKN-m"}}"#]]).await;
}

#[tokio::test]
async fn a_service_is_created() {
    let control = control();
    let api = Api::manager(control.clone());
    let body = r#"{"Name":"web","Labels":null,"TaskTemplate":{"ContainerSpec":{"Image":"alpine","Args":["ping"],
        "Init":false,"StopGracePeriod":10000000000,
        "Mounts":[{"Type":"volume","Source":"v","Target":"/v","TmpfsOptions":null}]},
        "Resources":{"Limits":{"NanoCPUs":5,"Pids":9},"Reservations":{"MemoryBytes":7}},
        "RestartPolicy":{"Condition":"on-failure","Delay":5000000000,"MaxAttempts":3},
        "Placement":{"Constraints":["node.role==worker"],"Preferences":[{"Spread":{"SpreadDescriptor":"x"}}]},
        "ForceUpdate":0,"Runtime":"container"},"Mode":{"Replicated":{"Replicas":5}},
        "UpdateConfig":{"Parallelism":2,"Delay":1000000000,"FailureAction":"rollback","MaxFailureRatio":0.5,"Order":"start-first"},
        "EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"host"}]}}"#;
    let (status, text) = api.post("/v1.50/services/create", body).await;
    assert_eq!((status, text.as_str()), (201, r#"{"ID":"service1"}"#));
    let request: v1::CreateServiceRequest = control.asked("CreateService");
    expect![[r#"
        ServiceSpec {
            annotations: Some(
                Annotations {
                    name: "web",
                    labels: {},
                    indices: [],
                },
            ),
            task: Some(
                TaskSpec {
                    resources: Some(
                        ResourceRequirements {
                            limits: Some(
                                Resources {
                                    nano_cpus: 5,
                                    memory_bytes: 0,
                                    generic: [],
                                },
                            ),
                            reservations: Some(
                                Resources {
                                    nano_cpus: 0,
                                    memory_bytes: 7,
                                    generic: [],
                                },
                            ),
                            swap_bytes: None,
                            memory_swappiness: None,
                        },
                    ),
                    restart: Some(
                        RestartPolicy {
                            condition: OnFailure,
                            delay: Some(
                                Duration {
                                    seconds: 5,
                                    nanos: 0,
                                },
                            ),
                            max_attempts: 3,
                            window: None,
                        },
                    ),
                    placement: Some(
                        Placement {
                            constraints: [
                                "node.role==worker",
                            ],
                            preferences: [
                                PlacementPreference {
                                    preference: Some(
                                        Spread(
                                            SpreadOver {
                                                spread_descriptor: "x",
                                            },
                                        ),
                                    ),
                                },
                            ],
                            platforms: [],
                            max_replicas: 0,
                        },
                    ),
                    log_driver: None,
                    networks: [],
                    force_update: 0,
                    resource_references: [],
                    runtime: Some(
                        Container(
                            ContainerSpec {
                                image: "alpine",
                                labels: {},
                                command: [],
                                args: [
                                    "ping",
                                ],
                                hostname: "",
                                env: [],
                                dir: "",
                                user: "",
                                groups: [],
                                privileges: None,
                                init: Some(
                                    false,
                                ),
                                tty: false,
                                open_stdin: false,
                                read_only: false,
                                stop_signal: "",
                                mounts: [
                                    Mount {
                                        r#type: Volume,
                                        source: "v",
                                        target: "/v",
                                        readonly: false,
                                        consistency: Default,
                                        bind_options: None,
                                        volume_options: None,
                                        tmpfs_options: None,
                                    },
                                ],
                                stop_grace_period: Some(
                                    Duration {
                                        seconds: 10,
                                        nanos: 0,
                                    },
                                ),
                                pull_options: None,
                                secrets: [],
                                configs: [],
                                hosts: [],
                                dns_config: None,
                                healthcheck: None,
                                isolation: Default,
                                pids_limit: 9,
                                sysctls: {},
                                capability_add: [],
                                capability_drop: [],
                                ulimits: [],
                                oom_score_adj: 0,
                            },
                        ),
                    ),
                },
            ),
            update: Some(
                UpdateConfig {
                    parallelism: 2,
                    delay: Some(
                        Duration {
                            seconds: 1,
                            nanos: 0,
                        },
                    ),
                    failure_action: Rollback,
                    monitor: None,
                    max_failure_ratio: 0.5,
                    order: StartFirst,
                },
            ),
            rollback: None,
            networks: [],
            endpoint: Some(
                EndpointSpec {
                    mode: Vip,
                    ports: [
                        PortConfig {
                            name: "",
                            protocol: Tcp,
                            target_port: 80,
                            published_port: 8080,
                            publish_mode: Host,
                        },
                    ],
                },
            ),
            mode: Some(
                Replicated(
                    ReplicatedService {
                        replicas: 5,
                    },
                ),
            ),
        }
    "#]]
    .assert_debug_eq(&request.spec.expect("spec"));
}

#[tokio::test]
async fn old_clients_leave_the_digest_to_the_daemon() {
    for (image, expected, warned) in [
        ("alpine", format!("alpine:latest@sha256:{}", "ab".repeat(32)), false),
        ("nowhere", "nowhere".to_owned(), true),
        ("slow", "slow".to_owned(), true),
    ] {
        let control = control();
        let body = format!(r#"{{"TaskTemplate":{{"ContainerSpec":{{"Image":"{image}"}}}}}}"#);
        let (status, text) =
            Api::manager(control.clone()).post("/v1.29/services/create", &body).await;
        assert_eq!(status, 201, "{text}");
        assert_eq!(text.contains("could not be accessed on a registry"), warned, "{text}");
        let request: v1::CreateServiceRequest = control.asked("CreateService");
        let service = crate::convert::service::service_json(&v1::Service {
            spec: request.spec,
            ..Default::default()
        });
        let container =
            service.expect("service").spec.task_template.container_spec.expect("container");
        assert_eq!(container.image, expected);
    }
}

#[tokio::test]
async fn update_sends_the_version_and_keeps_credentials() {
    let mut with_auth = service();
    let container = v1::ContainerSpec {
        pull_options: Some(v1::container_spec::PullOptions { registry_auth: "kept".to_owned() }),
        ..Default::default()
    };
    if let Some(task) = with_auth.spec.as_mut().and_then(|spec| spec.task.as_mut()) {
        task.runtime = Some(v1::task_spec::Runtime::Container(container));
    }
    let control =
        control().answers("GetService", &v1::GetServiceResponse { service: Some(with_auth) });
    let api = Api::manager(control.clone());
    let body = r#"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"alpine"}}}"#;
    let (status, text) =
        api.post("/v1.50/services/web/update?version=11&registryAuthFrom=spec", body).await;
    assert_eq!((status, text.as_str()), (200, r#"{"Warnings":null}"#));
    let request: v1::UpdateServiceRequest = control.asked("UpdateService");
    assert_eq!(request.service_version, Some(v1::Version { index: 11 }));
    let sent = request.encode_to_text();
    assert!(sent.contains("kept"), "{sent}");
    let previous =
        api.post("/services/web/update?version=11&registryAuthFrom=previous-spec", body).await;
    assert!(previous.1.contains("service does not have a previous spec"), "{}", previous.1);
}

trait Text {
    fn encode_to_text(&self) -> String;
}

impl<T: std::fmt::Debug> Text for T {
    fn encode_to_text(&self) -> String {
        format!("{self:?}")
    }
}

#[tokio::test]
async fn refusals_of_the_cluster_keep_their_words() {
    let control =
        control().refuses("UpdateService", Code::Unknown, "update out of sequence").refuses(
            "CreateService",
            Code::AlreadyExists,
            "name conflicts with an existing object: service web already exists",
        );
    let api = Api::manager(control);
    let body = r#"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"alpine"}}}"#;
    check(&api, Method::POST, "/services/create", body, expect![[r#"409 {"message":"rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists"}"#]]).await;
    check(
        &api,
        Method::POST,
        "/services/web/update?version=1",
        body,
        expect![[r#"500 {"message":"rpc error: code = Unknown desc = update out of sequence"}"#]],
    )
    .await;
}

#[tokio::test]
async fn lookups_by_name_and_prefix() {
    let none = FakeControl::default().answers("ListServices", &v1::ListServicesResponse::default());
    check(
        &Api::manager(none),
        Method::GET,
        "/services/x",
        "",
        expect![[r#"404 {"message":"service x not found"}"#]],
    )
    .await;
    let two = v1::ListServicesResponse { services: vec![service(), service()] };
    let two = FakeControl::default().answers("ListServices", &two);
    check(
        &Api::manager(two),
        Method::GET,
        "/services/x",
        "",
        expect![[r#"400 {"message":"service x is ambiguous (2 matches found)"}"#]],
    )
    .await;
}

#[tokio::test]
async fn a_lookup_that_fails_half_way_does_not_say_not_found() {
    for method in ["GetService", "ListServices"] {
        let none = FakeControl::default()
            .answers("ListServices", &v1::ListServicesResponse::default())
            .fails_once(method, tonic::Status::unavailable("the leader is lost"));
        let expect = expect![[
            r#"503 {"message":"rpc error: code = Unavailable desc = the leader is lost"}"#
        ]];
        check(&Api::manager(none), Method::GET, "/services/x", "", expect).await;
    }
}

#[tokio::test]
async fn the_swarm_is_initialised_and_updated() {
    let api = Api::alone();
    let body = r#"{"ListenAddr":"0.0.0.0:2377","AdvertiseAddr":"10.0.0.1","Availability":"drain",
        "Spec":{"Orchestration":{"TaskHistoryRetentionLimit":2},"Dispatcher":{"HeartbeatPeriod":1000000000}}}"#;
    check(&api, Method::POST, "/swarm/init", body, expect![[r#"200 "node1""#]]).await;
    let init = api.cluster.inits.lock().expect("lock").pop().expect("asked");
    assert_eq!(init.availability, v1::node_spec::Availability::Drain);
    assert_eq!(init.spec.orchestration.map(|o| o.task_history_retention_limit), Some(2));
    assert_eq!(init.spec.raft.map(|raft| raft.snapshot_interval), Some(10_000));

    let control = control();
    let api = Api::manager(control.clone());
    let (status, text) = api.post("/swarm/update?version=3&rotateWorkerToken=true", "{}").await;
    assert_eq!(status, 200, "{text}");
    let request: v1::UpdateClusterRequest = control.asked("UpdateCluster");
    assert_eq!(
        request.rotation.map(|r| (r.worker_join_token, r.manager_join_token)),
        Some((true, false))
    );
    assert_eq!(request.spec, cluster().spec);
    check(&api, Method::POST, "/swarm/init", "{}", expect![[r#"503 {"message":"This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one."}"#]]).await;
}

#[tokio::test]
async fn containers_and_images() {
    let api = Api::alone();
    check(
        &api,
        Method::POST,
        "/containers/create?name=web",
        r#"{"Image":"alpine","Cmd":"ls"}"#,
        expect![[r#"201 {"Id":"c1","Warnings":[]}"#]],
    )
    .await;
    assert_eq!(api.engine.last_call(), r#"create Some("web") Some(["ls"])"#);
    check(&api, Method::POST, "/containers/c1/start", "", expect!["304 "]).await;
    check(&api, Method::POST, "/containers/c1/stop?t=5", "", expect!["204 "]).await;
    assert_eq!(api.engine.last_call(), "stop None Some(5)");
    check(
        &api,
        Method::POST,
        "/containers/c1/wait",
        "",
        expect![[r#"
            200 {"StatusCode":3}
        "#]],
    )
    .await;
    check(
        &api,
        Method::GET,
        "/containers/c1/logs?stdout=1",
        "",
        expect![[r#"
        200 ........hello
    "#]],
    )
    .await;
    check(
        &api,
        Method::GET,
        "/containers/web/logs?stdout=1",
        "",
        expect![[r#"
        200 hello
    "#]],
    )
    .await;
    check(
        &api,
        Method::GET,
        "/images/library/alpine/json",
        "",
        expect![[r#"200 {"Id":"sha256:aa"}"#]],
    )
    .await;
    check(
        &api,
        Method::POST,
        "/images/alpine/tag?repo=localhost:5000/a&tag=1",
        "",
        expect!["201 "],
    )
    .await;
    assert_eq!(api.engine.last_call(), "tag alpine localhost:5000/a:1");
    check(
        &api,
        Method::POST,
        "/images/create?fromImage=alpine&tag=3",
        "",
        expect![[r#"
            200 {"status":"Pulled"}
        "#]],
    )
    .await;
    assert_eq!(api.engine.last_call(), r#"pull alpine:3 """#);
    let load = Request::post("/images/load?quiet=0").body(Body::from("x")).expect("request");
    let body = api.send(load).await.into_body().collect().await.expect("body").to_bytes();
    assert_eq!(String::from_utf8_lossy(&body).lines().count(), 2);
    check(&api, Method::GET, "/distribution/alpine/json", "", expect![[r#"200 {"Descriptor":{"digest":"sha256:abababababababababababababababababababababababababababababababab"},"Platforms":[]}"#]]).await;
    check(
        &api,
        Method::GET,
        "/distribution/slow/json",
        "",
        expect![[r#"503 {"message":"the registry of slow does not answer"}"#]],
    )
    .await;
    check(&api, Method::GET, "/events?filters=%7B%22event%22%3A%5B%22start%22%5D%7D", "", expect![[r#"
        200 {"Action":"start","Actor":{"Attributes":{"name":"web"},"ID":"c1"},"Type":"container","id":"c1","scope":"local","status":"start","time":1,"timeNano":1000000000}
    "#]]).await;
}

//! Peers that have no business with a manager, over real mutual TLS: every method of every service that the protocol
//! has, called with a worker's certificate, with none, and with others; rubbish; and floods.
//!
//! The methods are read from the protocol's own files, so that a new one is tested from its first day.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use http::uri::PathAndQuery;
use swarm_ca::{
    CertificateFiles, CertificateRequest, Credentials, Identity, NodeCertificate, Renewer, Role,
    RootCa, SigningRequest, TlsMaterials, Validity, connect, request_certificate,
};
use swarm_manager::{Founding, Manager, ManagerConfig};
use swarm_proto::Channel;
use swarm_proto::v1::ca_client::CaClient;
use swarm_proto::v1::control_client::ControlClient;
use swarm_proto::v1::node_spec::{Availability, Membership};
use swarm_proto::v1::{
    BlacklistedCertificate, Certificate, Cluster, ClusterSpec, GetRootCaCertificateRequest,
    ListNodesRequest, Node, NodeRole, NodeSpec, Service, Task,
};
use swarm_store::{Object as _, Tables};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

const CLUSTER: &str = "cluster1";
const PATIENCE: Duration = Duration::from_secs(30);

/// A manager that serves, with a worker among its nodes.
struct World {
    root: RootCa,
    manager: Manager,
    addr: String,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let root = RootCa::create().expect("a root");
        let folder = tempfile::tempdir().expect("a folder");
        let files = CertificateFiles::in_state(folder.path());
        let (key, chain) = root.issue(&identity("m1", Role::Manager, CLUSTER)).expect("issued");
        files.save_root(&root).expect("saved");
        files.save_node(&chain, &key).expect("saved");
        let materials = files.load().expect("loaded");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        let manager = Manager::start(ManagerConfig {
            raft_dir: folder.path().join("raft"),
            raft_id: 7,
            listener,
            advertise_addr: addr.clone(),
            renewer: Renewer::new(materials.clone(), files.clone()),
            files,
            materials,
            force_new_cluster: false,
            seed: None,
            founding: Some(founding(&root)),
            remotes: Vec::new(),
        });
        let manager = manager.await.expect("founded");
        tokio::time::timeout(PATIENCE, manager.ready()).await.expect("ready");
        for id in ["w1", "w2"] {
            let node = worker(id);
            manager.store().update(|tx| tx.create(node)).await.expect("written");
        }
        Self { root, manager, addr, _folder: folder }
    }

    fn materials(&self, node_id: &str, role: Role, organization: &str) -> TlsMaterials {
        TlsMaterials::issue(self.root.clone(), &identity(node_id, role, organization))
            .expect("issued")
    }

    fn channel(&self, credentials: Credentials) -> Channel {
        connect(&self.addr, credentials).expect("an address")
    }

    fn member(&self, node_id: &str, role: Role) -> Channel {
        self.channel(Credentials::Member(self.materials(node_id, role, CLUSTER)))
    }

    /// A certificate that expired so long ago.
    fn expired(&self, node_id: &str, since: Duration) -> TlsMaterials {
        let request = SigningRequest::generate().expect("a request");
        let end = SystemTime::now() - since;
        let validity = Validity { not_before: end - Duration::from_secs(7200), not_after: end };
        let worker = identity(node_id, Role::Worker, CLUSTER);
        let chain = self.root.sign_for(request.csr_pem(), &worker, validity).expect("signed");
        let node = NodeCertificate::from_pem_even_if_expired(&chain, request.key_pem(), &self.root);
        TlsMaterials::new(self.root.clone(), node.expect("a certificate")).expect("materials")
    }

    async fn serves(&self) {
        let mut control = ControlClient::new(self.member("m1", Role::Manager));
        let asked = control.list_nodes(ListNodesRequest::default());
        tokio::time::timeout(PATIENCE, asked).await.expect("in time").expect("served");
    }
}

fn identity(node_id: &str, role: Role, organization: &str) -> Identity {
    Identity { node_id: node_id.into(), role, organization: organization.into() }
}

fn founding(root: &RootCa) -> Founding {
    Founding {
        cluster_id: CLUSTER.into(),
        root_ca: root.clone(),
        unlock_key: None,
        spec: ClusterSpec::default(),
        availability: Availability::Active,
        default_address_pool: Vec::new(),
        subnet_size: 0,
        data_path_port: 0,
    }
}

fn worker(id: &str) -> Node {
    Node {
        id: id.into(),
        role: NodeRole::Worker.into(),
        spec: Some(NodeSpec { membership: Membership::Accepted.into(), ..NodeSpec::default() }),
        certificate: Some(Certificate { cn: id.into(), ..Certificate::default() }),
        ..Node::default()
    }
}

/// All methods of the protocol, as `/package.Service/Method`.
fn methods() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/proto");
    let files = std::fs::read_dir(folder).expect("the protocol").flatten();
    let files = files.flat_map(|folder| std::fs::read_dir(folder.path()).expect("a folder"));
    files.flatten().flat_map(|file| methods_of(&file.path())).collect()
}

fn methods_of(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a file");
    let word = |line: &str, before: &str| {
        let rest = line.trim().strip_prefix(before)?;
        Some(rest.split([' ', '(', ';', '{']).next().unwrap_or_default().to_owned())
    };
    let package = text.lines().find_map(|line| word(line, "package ")).unwrap_or_default();
    let mut service = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        service = word(line, "service ").unwrap_or(service);
        found.extend(word(line, "rpc ").map(|method| format!("/{package}.{service}/{method}")));
    }
    found
}

/// Calls a method with these bytes as its message; the refusal, or nothing where it answered or began to.
async fn call(channel: &Channel, method: &str, body: &[u8]) -> Option<Status> {
    let path: PathAndQuery = method.parse().expect("a path");
    let mut client = Grpc::new(channel.clone());
    client.ready().await.expect("ready");
    let codec = ProstCodec::<Bytes, Bytes>::default();
    let request = Request::new(Bytes(body.to_vec()));
    let asked = tokio::time::timeout(PATIENCE, client.server_streaming(request, path, codec)).await;
    match asked.expect("an answer in time") {
        Err(status) => Some(status),
        Ok(answer) => {
            // A stream that stays open without a word has admitted us.
            let mut stream = answer.into_inner();
            let first = tokio::time::timeout(Duration::from_millis(200), stream.message()).await;
            first.ok().and_then(Result::err)
        }
    }
}

/// A message of any form: what is given is sent, what comes is not looked at.
#[derive(Debug, Default, Clone, PartialEq)]
struct Bytes(Vec<u8>);

impl prost::Message for Bytes {
    fn encode_raw(&self, buf: &mut impl bytes::BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: prost::encoding::WireType,
        buf: &mut impl bytes::Buf,
        ctx: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// What must not change: everything that a call could write.
fn contents(tables: &Tables) -> (u64, usize, usize, usize) {
    let version = tables.cluster().map_or(0, |cluster| cluster.version());
    (version, tables.len::<Node>(), tables.len::<Service>(), tables.len::<Task>())
}

/// Open to everybody: a node that joins has no certificate yet. What is asked for without a token is refused inside.
const OPEN: [&str; 3] =
    ["CA/GetRootCACertificate", "NodeCA/IssueNodeCertificate", "NodeCA/NodeCertificateStatus"];
/// What a worker is there for.
const OF_WORKERS: [&str; 8] = [
    "Dispatcher/Session",
    "Dispatcher/Heartbeat",
    "Dispatcher/UpdateTaskStatus",
    "Dispatcher/UpdateVolumeStatus",
    "Dispatcher/Tasks",
    "Dispatcher/Assignments",
    "LogBroker/ListenSubscriptions",
    "LogBroker/PublishLogs",
];

fn is_of(method: &str, list: &[&str]) -> bool {
    list.iter().any(|name| method.ends_with(&format!(".{name}")))
}

/// Whether a call got nowhere: refused for who called, or there is no such thing.
fn is_shut_out(status: Option<&Status>) -> bool {
    status.is_some_and(|s| matches!(s.code(), Code::PermissionDenied | Code::Unimplemented))
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_workers_get_nowhere_on_any_manager_call() {
    let world = World::new().await;
    let before = contents(&world.manager.store().view());
    let methods = methods();
    assert!(methods.len() > 60 && methods.iter().any(|m| is_of(m, &["Control/UpdateCluster"])));
    let stranger = world.channel(Credentials::Joining(world.root.clone()));
    let expired = world.expired("w1", Duration::from_secs(60));
    for (who, channel, admitted) in [
        ("nobody", &stranger, &OPEN[..]),
        ("a worker", &world.member("w1", Role::Worker), &[&OPEN[..], &OF_WORKERS].concat()),
        ("an expired worker", &world.channel(Credentials::Member(expired)), &OPEN[..]),
    ] {
        for method in methods.iter().filter(|method| !is_of(method, admitted)) {
            let status = call(channel, method, b"").await;
            assert!(is_shut_out(status.as_ref()), "{who} at {method}: {status:?}");
        }
    }
    // Where they are let in, nothing comes of an empty request either.
    let issue = "/docker.swarmkit.v1.NodeCA/IssueNodeCertificate";
    let refused = call(&stranger, issue, b"").await.expect("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(contents(&world.manager.store().view()).1, before.1);
    assert_eq!(contents(&world.manager.store().view()), before);
    world.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_claims_to_pass_on_a_managers_call_is_refused() {
    let world = World::new().await;
    let claims = |mut request: Request<ListNodesRequest>, prefix: &str| {
        for (key, value) in [
            ("forwarded_cert", "true"),
            (&*format!("{prefix}_cn"), "m1"),
            (&*format!("{prefix}_ou"), "swarm-manager"),
            (&*format!("{prefix}_org"), CLUSTER),
        ] {
            let key: tonic::metadata::MetadataKey<_> = key.parse().expect("a key");
            request.metadata_mut().insert(key, value.parse().expect("a value"));
        }
        request
    };
    for prefix in ["forwarded_cert", "forwarded_expired_cert"] {
        for credentials in [
            Credentials::Member(world.materials("w1", Role::Worker, CLUSTER)),
            Credentials::Joining(world.root.clone()),
        ] {
            let mut control = ControlClient::new(world.channel(credentials));
            let request = claims(Request::new(ListNodesRequest::default()), prefix);
            let refused = control.list_nodes(request).await.expect_err("refused");
            assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_gets_nowhere_with_its_certificate() {
    let world = World::new().await;
    let removed = world.member("gone", Role::Manager);
    world
        .manager
        .store()
        .update(|tx| {
            let mut cluster = Cluster::clone(tx.cluster().expect("a cluster"));
            let entry = BlacklistedCertificate::default();
            cluster.blacklisted_certificates.insert("gone".into(), entry);
            tx.update(cluster)
        })
        .await
        .expect("written");
    for method in methods().iter().filter(|method| !is_of(method, &OPEN)) {
        // Health tells nothing but that there is a manager.
        if is_of(method, &["Health/Check"]) {
            continue;
        }
        let status = call(&removed, method, b"").await;
        let is_refused = is_shut_out(status.as_ref())
            || status.as_ref().is_some_and(|status| status.code() == Code::NotFound);
        assert!(is_refused, "{method}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_refused_and_the_manager_goes_on() {
    let world = World::new().await;
    let before = contents(&world.manager.store().view());
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut rubbish = |length: usize| -> Vec<u8> {
        let roll = |_| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice >> 32) as u8
        };
        (0..length).map(roll).collect()
    };
    // Before TLS, and over TLS of a worker and of a manager.
    for length in [1, 100, 70_000] {
        let mut stream = TcpStream::connect(&world.addr).await.expect("connects");
        // The manager may have hung up by then.
        let _ = stream.write_all(&rubbish(length)).await;
    }
    // A message that never ends: a key of 10 bytes, and lengths beyond what is there.
    let truncated = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3].to_vec();
    let wrong_type = [0x0b, 0x0b, 0x0b].to_vec();
    for (node_id, role) in [("w1", Role::Worker), ("m1", Role::Manager)] {
        let channel = world.member(node_id, role);
        for method in &methods() {
            for body in [truncated.clone(), wrong_type.clone(), rubbish(300)] {
                let status = call(&channel, method, &body).await;
                assert!(status.is_some(), "{node_id} at {method} with {body:?}");
            }
        }
    }
    assert_eq!(contents(&world.manager.store().view()), before);
    world.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_keep_nobody_out() {
    let world = World::new().await;
    // Peers that connect and never speak.
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(&world.addr).await.expect("connects"));
    }
    let start = Instant::now();
    world.serves().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // A worker that calls without end, at what it may call and what not.
    let flood: Vec<_> = (0..16)
        .map(|_| {
            let channel = world.member("w1", Role::Worker);
            tokio::spawn(async move {
                for round in 0..100 {
                    let method = ["Control/ListNodes", "Dispatcher/Session"][round % 2];
                    let path: PathAndQuery =
                        format!("/docker.swarmkit.v1.{method}").parse().expect("a path");
                    let mut client = Grpc::new(channel.clone());
                    client.ready().await.expect("ready");
                    let codec = ProstCodec::<Bytes, Bytes>::default();
                    // Refused, or a session that is dropped at once.
                    let _ =
                        client.server_streaming(Request::new(Bytes::default()), path, codec).await;
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let start = Instant::now();
        world.serves().await;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    for worker in flood {
        worker.await.expect("it ends");
    }
    world.serves().await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_and_endless_renewals_end_early() {
    let world = World::new().await;
    let large = vec![0x0a; 1 << 20];
    let stranger = world.channel(Credentials::Joining(world.root.clone()));
    for method in methods() {
        let status = call(&stranger, &method, &large).await;
        assert!(status.is_some(), "{method}");
    }
    let worker = world.member("w1", Role::Worker);
    let mut refused = None;
    for _ in 0..20 {
        let request = CertificateRequest::default();
        let asked = request_certificate(worker.clone(), &world.root, &request).await;
        refused = asked.err().map(|error| error.to_string());
    }
    assert!(refused.is_some_and(|text| text.contains("asks for certificates too often")));
    // Another node is none the worse for it.
    let other = world.member("w2", Role::Worker);
    let request = CertificateRequest::default();
    request_certificate(other, &world.root, &request).await.expect("renewed");
    world.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_renewed_within_its_grace_and_for_members_only() {
    let world = World::new().await;
    let renewal = |node_id: &'static str, since: Duration| {
        let channel = world.channel(Credentials::Member(world.expired(node_id, since)));
        let root = world.root.clone();
        async move { request_certificate(channel, &root, &CertificateRequest::default()).await }
    };
    // It was valid for two hours.
    let issued = renewal("w1", Duration::from_secs(7000)).await.expect("renewed");
    assert_eq!(issued.certificate.identity(), &identity("w1", Role::Worker, CLUSTER));
    let late = renewal("w2", Duration::from_secs(7300)).await;
    assert!(late.is_err(), "the grace is over");
    let stranger = renewal("gone", Duration::from_secs(60)).await.err().expect("refused");
    assert!(stranger.to_string().contains("node gone not found"), "{stranger}");
    // The root is told to everybody.
    let expired = world.expired("w1", Duration::from_secs(60));
    let mut ca = CaClient::new(world.channel(Credentials::Member(expired)));
    ca.get_root_ca_certificate(GetRootCaCertificateRequest {}).await.expect("told");
}

//! Managers of one process as one group, over real mutual TLS on loopback: joining by log and by snapshot, who is
//! refused, and whose data is whose.

use std::path::Path;
use std::time::{Duration, SystemTime};

use swarm_ca::{
    CertificateFiles, Credentials, Identity, Renewer, Role, RootCa, SigningRequest, TlsMaterials,
    Validity, connect,
};
use swarm_manager::{Founding, Manager, ManagerConfig};
use swarm_proto::raftpb::Message;
use swarm_proto::v1::control_client::ControlClient;
use swarm_proto::v1::node_spec::{Availability, Membership};
use swarm_proto::v1::raft_client::RaftClient;
use swarm_proto::v1::raft_membership_client::RaftMembershipClient;
use swarm_proto::v1::{
    Annotations, Certificate, ClusterSpec, Config, ConfigSpec, JoinRequest, LeaveRequest,
    ListNodesRequest, Node, NodeRole, NodeSpec, ProcessRaftMessageRequest, RaftMember,
    ResolveAddressRequest, StreamRaftMessageRequest,
};
use swarm_store::{Error, Kind, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::Code;

const CLUSTER: &str = "cluster1";
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster's root and where its managers keep their logs.
struct World {
    root: RootCa,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            root: RootCa::create().expect("a root"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn materials(&self, node_id: &str, role: Role) -> TlsMaterials {
        let identity = Identity { node_id: node_id.into(), role, organization: CLUSTER.into() };
        TlsMaterials::issue(self.root.clone(), &identity).expect("issued")
    }

    /// The node's certificate and the keys of its log, which go on where there are some.
    fn certificate(&self, node_id: &str, directory: &Path) -> (CertificateFiles, TlsMaterials) {
        let files =
            CertificateFiles::in_state(&directory.with_extension(format!("{node_id}.state")));
        if let Ok(materials) = files.load() {
            return (files, materials);
        }
        let identity =
            Identity { node_id: node_id.into(), role: Role::Manager, organization: CLUSTER.into() };
        let (key, chain) = self.root.issue(&identity).expect("issued");
        files.save_root(&self.root).expect("saved");
        files.save_node(&chain, &key).expect("saved");
        let materials = files.load().expect("loaded");
        (files, materials)
    }

    /// Puts a certificate in the node's files that has expired a minute ago.
    fn expire(&self, node_id: &str, files: &CertificateFiles) {
        let request = SigningRequest::generate().expect("a request");
        let end = SystemTime::now() - Duration::from_secs(60);
        let validity = Validity { not_before: end - Duration::from_secs(7200), not_after: end };
        let identity =
            Identity { node_id: node_id.into(), role: Role::Manager, organization: CLUSTER.into() };
        let chain = self.root.sign_for(request.csr_pem(), &identity, validity).expect("signed");
        files.save_node(&chain, request.key_pem()).expect("saved");
    }

    fn founding(&self) -> Founding {
        Founding {
            cluster_id: CLUSTER.into(),
            root_ca: self.root.clone(),
            unlock_key: None,
            spec: ClusterSpec::default(),
            availability: Availability::Active,
            default_address_pool: Vec::new(),
            subnet_size: 0,
            data_path_port: 0,
        }
    }

    async fn config(&self, node_id: &str, directory: &Path, remotes: &[&str]) -> ManagerConfig {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        let (files, materials) = self.certificate(node_id, directory);
        ManagerConfig {
            raft_dir: directory.to_owned(),
            raft_id: 0,
            listener,
            advertise_addr: addr,
            renewer: Renewer::new(materials.clone(), files.clone()),
            files,
            materials,
            founding: None,
            force_new_cluster: false,
            seed: None,
            remotes: remotes.iter().map(ToString::to_string).collect(),
        }
    }

    async fn found(&self, node_id: &str) -> (Manager, String) {
        let mut config = self.config(node_id, &self.folder.path().join(node_id), &[]).await;
        config.raft_id = 7;
        config.founding = Some(self.founding());
        let addr = config.advertise_addr.clone();
        let manager = Manager::start(config).await.expect("founded");
        within(manager.ready()).await;
        (manager, addr)
    }

    async fn join(&self, node_id: &str, remote: &str) -> Result<Manager, String> {
        let config = self.config(node_id, &self.folder.path().join(node_id), &[remote]).await;
        let manager = Manager::start(config).await.map_err(|error| error.to_string())?;
        within(manager.ready()).await;
        Ok(manager)
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

fn node(id: &str, role: NodeRole) -> Node {
    Node {
        id: id.into(),
        role: role.into(),
        spec: Some(NodeSpec {
            desired_role: role.into(),
            membership: Membership::Accepted.into(),
            ..NodeSpec::default()
        }),
        certificate: Some(Certificate::default()),
        ..Node::default()
    }
}

async fn create_node(store: &Store, id: &str, role: NodeRole) {
    store.update(|tx| tx.create(node(id, role))).await.expect("written");
}

fn config(name: &str, bytes: usize) -> Config {
    Config {
        id: name.into(),
        spec: Some(ConfigSpec {
            annotations: Some(Annotations { name: name.into(), ..Annotations::default() }),
            data: vec![7; bytes],
            ..ConfigSpec::default()
        }),
        ..Config::default()
    }
}

async fn create_config(store: &Store, name: &str, bytes: usize) {
    store.update(|tx| tx.create(config(name, bytes))).await.expect("written");
}

async fn await_state(store: &Store, condition: impl Fn(&swarm_store::Tables) -> bool) {
    let (mut tables, mut watch) = store.view_and_watch(Kind::ALL);
    within(async {
        while !condition(&tables) {
            tables = watch.next().await.tables;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_behind_manager_catches_up_by_a_snapshot_in_pieces() {
    let world = World::new();
    let (first, addr) = world.found("n1").await;
    for id in ["n2", "n3"] {
        create_node(first.store(), id, NodeRole::Manager).await;
    }
    // Two compactions, the second of which leaves the first entries behind.
    for round in 0..2 {
        for number in 0..20 {
            create_config(first.store(), &format!("large{round}-{number}"), 900 << 10).await;
        }
        for number in 0..(300 * (1 - round)) + 300 {
            create_config(first.store(), &format!("small{round}-{number}"), 10).await;
        }
    }
    let count = 20 + 600 + 20 + 300;
    let second = world.join("n2", &addr).await.expect("joined");
    await_state(second.store(), |tables| tables.len::<Config>() == count).await;
    let third = world.join("n3", &addr).await.expect("joined");
    await_state(third.store(), |tables| tables.len::<Config>() == count).await;
    // And what follows comes by the log, an entry larger than a message among it. Leadership may move while snapshots
    // of this size are made and read.
    let all = [&first, &second, &third];
    write(&all, |tx| {
        for number in 0..3 {
            tx.create(config(&format!("big{number}"), 900 << 10))?;
        }
        Ok(())
    })
    .await;
    for manager in all {
        await_state(manager.store(), |tables| tables.len::<Config>() == count + 3).await;
    }
    // The first goes; the others go on.
    first.stop().await;
    write(&[&second, &third], |tx| tx.create(config("after", 1))).await;
    second.stop().await;
    third.stop().await;
}

/// Writes through whichever manager leads.
async fn write(
    managers: &[&Manager],
    transact: impl Fn(&mut swarm_store::Transaction<'_>) -> Result<(), Error>,
) {
    within(async {
        loop {
            for manager in managers.iter().filter(|manager| manager.is_leading()) {
                match manager.store().update(&transact).await {
                    Ok(()) => return,
                    // The write of a lost leadership may have been committed.
                    Err(Error::NameConflict { .. } | Error::Exists { .. }) => return,
                    Err(_) => {}
                }
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_manager_does_not_get_in() {
    let world = World::new();
    let (first, addr) = world.found("n1").await;
    let refused = |result: Result<Manager, String>| result.err().expect("refused");
    // A manager's certificate without a node: it was removed.
    let said = refused(world.join("gone", &addr).await);
    assert!(said.contains("node gone is not a manager of this swarm"), "{said}");
    create_node(first.store(), "demoted", NodeRole::Worker).await;
    let said = refused(world.join("demoted", &addr).await);
    assert!(said.contains("node demoted is not a manager of this swarm"), "{said}");
    // A worker's certificate opens no manager call.
    let worker = Credentials::Member(world.materials("w", Role::Worker));
    let channel = connect(&addr, worker).expect("a channel");
    let message = Some(Message { to: Some(7), from: Some(9), ..Message::default() });
    let mut raft = RaftClient::new(channel.clone());
    let mut membership = RaftMembershipClient::new(channel.clone());
    let request = ProcessRaftMessageRequest { message: message.clone() };
    let stream = tokio_stream::iter([StreamRaftMessageRequest { message }]);
    let answers = [
        raft.process_raft_message(request).await.err(),
        raft.stream_raft_message(stream).await.err(),
        raft.resolve_address(ResolveAddressRequest { raft_id: 7 }).await.err(),
        membership.join(JoinRequest { addr: "127.0.0.1:1".into() }).await.err(),
        membership.leave(LeaveRequest { node: Some(RaftMember::default()) }).await.err(),
        ControlClient::new(channel).list_nodes(ListNodesRequest::default()).await.err(),
    ];
    for answer in answers {
        assert_eq!(answer.map(|status| status.code()), Some(Code::PermissionDenied));
    }
    // A manager cannot speak for another one.
    let other = Credentials::Member(world.materials("demoted", Role::Manager));
    let mut raft = RaftClient::new(connect(&addr, other).expect("a channel"));
    let message = Some(Message { to: Some(7), from: Some(7), ..Message::default() });
    let request = ProcessRaftMessageRequest { message };
    let status = raft.process_raft_message(request).await.expect_err("refused");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(first.is_leading());
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_data_is_refused_and_a_new_address_is_followed() {
    let world = World::new();
    let (first, addr) = world.found("n1").await;
    for id in ["n2", "n3"] {
        create_node(first.store(), id, NodeRole::Manager).await;
    }
    let second = world.join("n2", &addr).await.expect("joined");
    let third = world.join("n3", &addr).await.expect("joined");
    second.stop().await;
    let data = world.folder.path().join("n2");
    let foreign = world.config("n4", &data, &[&addr]).await;
    let said = Manager::start(foreign).await.err().expect("refused").to_string();
    assert!(said.contains("belongs to manager n2, and this node is n4"), "{said}");
    // The same node on another port, which is all that this host can do.
    let moved = world.config("n2", &data, &[]).await;
    let second = Manager::start(moved).await.expect("started");
    create_config(first.store(), "after", 1).await;
    await_state(second.store(), |tables| tables.get::<Config>("after").is_some()).await;
    // A manager that lost its log has forgotten its votes: it comes back as a new member.
    second.stop().await;
    std::fs::remove_dir_all(&data).expect("the log is lost");
    let second = world.join("n2", &addr).await.expect("joined");
    write(&[&first, &second, &third], |tx| tx.create(config("more", 1))).await;
    await_state(second.store(), |tables| tables.get::<Config>("more").is_some()).await;
    first.stop().await;
    second.stop().await;
    third.stop().await;
}

/// A member knows nobody before its log has its first entry, so nobody tells it when they are addressed.
#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_was_removed_before_its_first_entry_hears_of_it() {
    let world = World::new();
    let (first, addr) = world.found("n1").await;
    for id in ["n2", "n3"] {
        create_node(first.store(), id, NodeRole::Manager).await;
    }
    let second = world.join("n2", &addr).await.expect("joined");
    world.join("n3", &addr).await.expect("joined").stop().await;
    let data = world.folder.path().join("n3");
    for entry in std::fs::read_dir(&data).expect("reads") {
        let entry = entry.expect("reads");
        if entry.file_name() != "member.json" {
            std::fs::remove_file(entry.path()).expect("is a file");
        }
    }
    // As it was before: without a log, and without the note that there is one.
    let member = data.join("member.json");
    let text = std::fs::read_to_string(&member).expect("reads");
    let mut noted: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
    noted["has_log"] = false.into();
    std::fs::write(&member, noted.to_string()).expect("is written");
    // Demoted and promoted again while it is away.
    for role in [NodeRole::Worker, NodeRole::Manager] {
        write(&[&first, &second], |tx| {
            let mut node = tx.get::<Node>("n3").map(|node| Node::clone(node)).expect("is there");
            node.spec.get_or_insert_default().desired_role = role.into();
            tx.update(node)
        })
        .await;
        await_state(first.store(), |tables| {
            tables.get::<Node>("n3").is_some_and(|node| node.role() == role)
        })
        .await;
    }
    let third = world.config("n3", &data, &[&addr]).await;
    let third = Manager::start(third).await.expect("started");
    within(third.removed()).await;
    for manager in [third, second, first] {
        manager.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_whose_certificates_expired_meet_again_and_renew_them() {
    let world = World::new();
    let (first, addr) = world.found("n1").await;
    create_node(first.store(), "n2", NodeRole::Manager).await;
    let joining = world.config("n2", &world.folder.path().join("n2"), &[&addr]).await;
    let second_addr = joining.advertise_addr.clone();
    let second = Manager::start(joining).await.expect("joined");
    within(second.ready()).await;
    let addrs = [addr, second_addr];
    await_state(second.store(), |tables| tables.get::<Node>("n2").is_some()).await;
    second.stop().await;
    first.stop().await;
    let mut managers = Vec::new();
    for (node_id, addr) in ["n1", "n2"].into_iter().zip(&addrs) {
        let directory = world.folder.path().join(node_id);
        let mut config = world.config(node_id, &directory, &[]).await;
        world.expire(node_id, &config.files);
        config.materials = config.files.load().expect("loaded");
        config.renewer = Renewer::new(config.materials.clone(), config.files.clone());
        config.listener = TcpListener::bind(addr).await.expect("the same port");
        config.advertise_addr = addr.clone();
        let (materials, renewer) = (config.materials.clone(), config.renewer.clone());
        assert!(materials.certificate().validity().not_after < SystemTime::now());
        managers.push((Manager::start(config).await.expect("started"), materials, renewer));
    }
    let all: Vec<&Manager> = managers.iter().map(|(manager, ..)| manager).collect();
    write(&all, |tx| tx.create(config("after", 1))).await;
    for (manager, materials, renewer) in &managers {
        within(async {
            while renewer.renew(&mut |_: &TlsMaterials| Some(manager.channel())).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(materials.certificate().validity().not_after > SystemTime::now());
    }
    for (manager, ..) in managers {
        manager.stop().await;
    }
}

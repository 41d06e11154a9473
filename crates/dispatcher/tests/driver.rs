//! The service end to end in one process: generated clients, a store that commits at once, identities as TLS gives them.

use std::time::Duration;

use swarm_ca::{Identity, PeerIdentity, Role, local_as};
use swarm_dispatcher::{AGENT_HEADER, Config, Dispatcher, Timing};
use swarm_proto::Channel;
use swarm_proto::channel::ChannelError;
use swarm_proto::v1::assignment::Item;
use swarm_proto::v1::assignments_message::Type;
use swarm_proto::v1::dispatcher_client::DispatcherClient;
use swarm_proto::v1::dispatcher_server::DispatcherServer;
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::update_task_status_request::TaskStatusUpdate;
use swarm_proto::v1::{
    Annotations, AssignmentsMessage, AssignmentsRequest, BlacklistedCertificate, Cluster,
    ClusterSpec, EncryptionKey, HeartbeatRequest, Node, NodeDescription, Peer, RootCa,
    SessionMessage, SessionRequest, Task, TaskState, TaskStatus, TasksRequest,
    UpdateTaskStatusRequest, WeightedPeer,
};
use swarm_store::{Error, ImmediateProposer, Kind, Store};
use tokio::sync::{oneshot, watch};
use tonic::{Code, Request, Status, Streaming};
use tower::ServiceExt as _;

/// A dispatcher that runs, over a store with nodes `n1` and `n2`.
struct Bench {
    store: Store,
    dispatcher: Dispatcher,
    peers: watch::Sender<Vec<WeightedPeer>>,
    stop: Option<oneshot::Sender<()>>,
}

type Client = DispatcherClient<Channel>;

impl Bench {
    async fn start(timing: Timing) -> Self {
        let store = ImmediateProposer::store();
        let name = Annotations { name: "default".into(), ..Annotations::default() };
        let cluster = Cluster {
            id: "org".into(),
            spec: Some(ClusterSpec { annotations: Some(name), ..ClusterSpec::default() }),
            root_ca: Some(RootCa { ca_cert: b"root".to_vec(), ..RootCa::default() }),
            network_bootstrap_keys: vec![EncryptionKey {
                lamport_time: 7,
                ..EncryptionKey::default()
            }],
            blacklisted_certificates: [("gone".to_owned(), BlacklistedCertificate::default())]
                .into(),
            ..Cluster::default()
        };
        let node = |id: &str| Node { id: id.into(), ..Node::default() };
        let fill = store.update::<_, Error>(|tx| {
            tx.create(cluster)?;
            tx.create(node("n1"))?;
            tx.create(node("n2"))
        });
        fill.await.expect("filled");
        let peers = watch::Sender::new(vec![peer("m1")]);
        let config = Config { node_id: "m1".into(), timing };
        let dispatcher = Dispatcher::new(store.clone(), config, peers.subscribe());
        let mut bench = Self { store, dispatcher, peers, stop: None };
        bench.lead().await;
        bench
    }

    async fn lead(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let dispatcher = self.dispatcher.clone();
        tokio::spawn(async move {
            dispatcher
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        });
        self.stop = Some(stop);
        self.until_state("n1", State::Unknown).await;
    }

    fn client(&self, node_id: &str, organization: &str) -> Client {
        let identity = Identity {
            node_id: node_id.into(),
            role: Role::Worker,
            organization: organization.into(),
        };
        Client::new(local_as(identity, DispatcherServer::new(self.dispatcher.clone())))
    }

    /// Waits until the store's view satisfies the condition.
    async fn until(&self, what: &str, condition: impl Fn(&swarm_store::Tables) -> bool) {
        let (tables, mut watch) = self.store.view_and_watch(Kind::ALL);
        let wait = async {
            let mut tables = tables;
            while !condition(&tables) {
                tables = watch.next().await.tables;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    async fn until_state(&self, node_id: &str, state: State) {
        self.until(&format!("{node_id} {state:?}"), |tables| {
            let status = tables.get::<Node>(node_id).and_then(|node| node.status.clone());
            // A node without status is in state 0, which is UNKNOWN, but only a message shows that it was put there.
            status.is_some_and(|status| status.state == state as i32)
        })
        .await;
    }

    async fn put_task(&self, id: &str, node_id: &str, state: TaskState) {
        let status = Some(TaskStatus { state: state as i32, ..TaskStatus::default() });
        let task = Task { id: id.into(), node_id: node_id.into(), status, ..Task::default() };
        self.store.update::<_, Error>(|tx| tx.create(task)).await.expect("created");
    }
}

fn peer(node_id: &str) -> WeightedPeer {
    WeightedPeer {
        peer: Some(Peer { node_id: node_id.into(), addr: "10.0.0.1:2377".into() }),
        weight: 10,
    }
}

async fn open(
    client: &mut Client,
    session_id: &str,
    hostname: &str,
) -> Result<Streaming<SessionMessage>, Status> {
    let description =
        Some(NodeDescription { hostname: hostname.into(), ..NodeDescription::default() });
    let request = SessionRequest { description, session_id: session_id.into() };
    client.session(request).await.map(tonic::Response::into_inner)
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    tokio::time::timeout(Duration::from_secs(10), stream.message())
        .await
        .expect("a message in time")
}

async fn message<T>(stream: &mut Streaming<T>) -> T {
    next(stream).await.expect("no error").expect("a message")
}

fn refused<T>(result: Result<T, Status>) -> (Code, String) {
    let status = result.err().expect("refused");
    (status.code(), status.message().to_owned())
}

/// `COMPLETE ""->1 +t1 -t2`.
fn show(message: &AssignmentsMessage) -> String {
    let kind = if message.r#type == Type::Complete as i32 { "COMPLETE" } else { "INCREMENTAL" };
    let mut text = format!("{kind} {:?}->{}", message.applies_to, message.results_in);
    for change in &message.changes {
        if let Some(Item::Task(task)) = change.assignment.as_ref().and_then(|a| a.item.as_ref()) {
            text += &format!(" {}{}", if change.action == 0 { '+' } else { '-' }, task.id);
        }
    }
    text
}

#[tokio::test]
async fn a_session_makes_the_node_ready_and_tells_of_changes() {
    let bench = Bench::start(Timing::default()).await;
    let mut client = bench.client("n1", "org");
    let mut session = open(&mut client, "", "host").await.expect("a session");
    let first = message(&mut session).await;
    assert_eq!(first.session_id.len(), 25);
    assert_eq!((first.managers, first.root_ca.as_slice()), (vec![peer("m1")], b"root".as_slice()));
    assert_eq!(first.network_bootstrap_keys[0].lamport_time, 7);
    let node = first.node.expect("a node");
    assert_eq!(node.description.expect("a description").hostname, "host");
    assert_eq!(node.status.expect("a status").state, State::Ready as i32);

    bench.peers.send_replace(vec![peer("m1"), peer("m2")]);
    assert_eq!(message(&mut session).await.managers.len(), 2);
    let mut cluster = Cluster::clone(bench.store.view().cluster().expect("a cluster"));
    cluster.root_ca = Some(RootCa { ca_cert: b"new".to_vec(), ..RootCa::default() });
    bench.store.update::<_, Error>(|tx| tx.update(cluster)).await.expect("updated");
    assert_eq!(message(&mut session).await.root_ca, b"new");

    // A second session ends the first.
    let mut other = open(&mut client, "", "host").await.expect("a session");
    assert_ne!(message(&mut other).await.session_id, first.session_id);
    let ended = loop {
        if let Err(status) = next(&mut session).await {
            break status;
        }
    };
    assert_eq!((ended.code(), ended.message()), (Code::InvalidArgument, "session invalid"));
}

#[tokio::test]
async fn assignments_come_whole_and_then_as_changes() {
    let bench = Bench::start(Timing::default()).await;
    bench.put_task("t1", "n1", TaskState::Assigned).await;
    bench.put_task("other", "n2", TaskState::Assigned).await;
    let mut client = bench.client("n1", "org");
    let mut session = open(&mut client, "", "host").await.expect("a session");
    let session_id = message(&mut session).await.session_id;
    let request = AssignmentsRequest { session_id: session_id.clone() };
    let mut assignments = client.assignments(request).await.expect("a stream").into_inner();
    let mut tasks = client
        .tasks(TasksRequest { session_id: session_id.clone() })
        .await
        .expect("a stream")
        .into_inner();
    assert_eq!(show(&message(&mut assignments).await), "COMPLETE \"\"->1 +t1");
    assert_eq!(message(&mut tasks).await.tasks.len(), 1);

    bench.put_task("t2", "n1", TaskState::Assigned).await;
    assert_eq!(show(&message(&mut assignments).await), "INCREMENTAL \"1\"->2 +t2");
    assert_eq!(message(&mut tasks).await.tasks.len(), 2);

    // The agent's own report is no news to it, and is in the store once it is acknowledged.
    let status = Some(TaskStatus { state: TaskState::Running as i32, ..TaskStatus::default() });
    let report = |task_id: &str| UpdateTaskStatusRequest {
        session_id: session_id.clone(),
        updates: vec![TaskStatusUpdate { task_id: task_id.into(), status: status.clone() }],
    };
    client.update_task_status(report("t1")).await.expect("accepted");
    let stored = bench
        .store
        .view()
        .get::<Task>("t1")
        .and_then(|task| task.status.clone())
        .expect("a status");
    assert_eq!((stored.state, stored.applied_by.as_str()), (TaskState::Running as i32, "m1"));
    client.update_task_status(report("unknown")).await.expect("accepted");
    let denied = refused(client.update_task_status(report("other")).await);
    assert_eq!(
        denied,
        (Code::PermissionDenied, "cannot update a task not assigned this node".to_owned())
    );

    bench.store.update::<_, Error>(|tx| tx.delete::<Task>("t1")).await.expect("deleted");
    assert_eq!(show(&message(&mut assignments).await), "INCREMENTAL \"2\"->3 -t1");
}

#[tokio::test]
async fn a_broken_session_makes_the_node_down() {
    let timing = Timing { suspect_grace: Duration::from_millis(50), ..Timing::default() };
    let bench = Bench::start(timing).await;
    let mut client = bench.client("n1", "org");
    let mut session = open(&mut client, "", "host").await.expect("a session");
    let session_id = message(&mut session).await.session_id;
    drop(session);
    bench.until_state("n1", State::Down).await;
    let gone = refused(client.heartbeat(HeartbeatRequest { session_id: session_id.clone() }).await);
    assert_eq!(gone, (Code::NotFound, "node not registered".to_owned()));
    let mut session = open(&mut client, &session_id, "host").await.expect("a session");
    assert_eq!(
        message(&mut session).await.node.and_then(|n| n.status).map(|s| s.state),
        Some(State::Ready as i32)
    );
}

#[tokio::test]
async fn a_lost_connection_makes_the_node_down() {
    let timing = Timing { suspect_grace: Duration::from_millis(50), ..Timing::default() };
    let bench = Bench::start(timing).await;
    let (mut client, wire) = connect(&bench).await;
    let mut session = open(&mut client, "", "host").await.expect("a session");
    message(&mut session).await;
    bench.until_state("n1", State::Ready).await;
    // What a peer sees of a daemon that is killed: the kernel closes its connections.
    wire.abort();
    bench.until_state("n1", State::Down).await;
}

/// A client over a connection of its own, which breaks when the task is aborted.
async fn connect(bench: &Bench) -> (Client, tokio::task::JoinHandle<()>) {
    let identity =
        Identity { node_id: "n1".into(), role: Role::Worker, organization: "org".into() };
    let identify = move |mut request: Request<()>| {
        request
            .extensions_mut()
            .insert(PeerIdentity { identity: Some(identity.clone()), ..PeerIdentity::default() });
        Ok(request)
    };
    let service = DispatcherServer::with_interceptor(bench.dispatcher.clone(), identify);
    let (near, mut near_end) = tokio::io::duplex(1 << 16);
    let (far, mut far_end) = tokio::io::duplex(1 << 16);
    let incoming = tokio_stream::iter([Ok::<_, std::io::Error>(far)]);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
    );
    let wire = tokio::spawn(async move {
        // That either end closes is the end of the wire.
        let _ = tokio::io::copy_bidirectional(&mut near_end, &mut far_end).await;
    });
    let mut near = Some(near);
    let connector = tower::service_fn(move |_| {
        let near = near.take().ok_or_else(|| std::io::Error::other("connected once already"));
        async move { near.map(hyper_util::rt::TokioIo::new) }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://manager");
    let channel = endpoint.connect_with_connector(connector).await.expect("connected");
    (Client::new(Channel::new(channel.map_err(ChannelError::new))), wire)
}

#[tokio::test]
async fn silence_makes_the_node_down_and_ends_its_streams() {
    let timing = Timing {
        heartbeat_period: Duration::from_millis(20),
        heartbeat_epsilon: Duration::ZERO,
        ..Timing::default()
    };
    let bench = Bench::start(timing).await;
    let mut client = bench.client("n1", "org");
    let mut session = open(&mut client, "", "host").await.expect("a session");
    message(&mut session).await;
    bench.until_state("n1", State::Down).await;
    let ended = loop {
        if let Err(status) = next(&mut session).await {
            break status;
        }
    };
    assert_eq!((ended.code(), ended.message()), (Code::NotFound, "node not registered"));
}

#[tokio::test]
async fn our_own_agents_are_told_a_short_period() {
    let timing = Timing { heartbeat_epsilon: Duration::ZERO, ..Timing::default() };
    let bench = Bench::start(timing).await;
    for (node_id, is_swift, millis) in [("n1", false, 5000), ("n2", true, 500)] {
        let mut client = bench.client(node_id, "org");
        let mut request = Request::new(SessionRequest::default());
        if is_swift {
            request
                .metadata_mut()
                .insert(AGENT_HEADER, tonic::metadata::MetadataValue::from_static("1"));
        }
        let mut session = client.session(request).await.expect("a session").into_inner();
        let session_id = message(&mut session).await.session_id;
        let beat =
            client.heartbeat(HeartbeatRequest { session_id }).await.expect("accepted").into_inner();
        let period = beat.period.as_ref().map(swarm_proto::timestamp::to_duration);
        assert_eq!(period, Some(Duration::from_millis(millis)));
        let invalid = refused(client.heartbeat(HeartbeatRequest { session_id: "x".into() }).await);
        assert_eq!(invalid, (Code::InvalidArgument, "session invalid".to_owned()));
    }
}

#[tokio::test]
async fn only_nodes_of_the_cluster_get_a_session() {
    let bench = Bench::start(Timing::default()).await;
    for (node_id, organization, code, text) in [
        ("n1", "foreign", Code::PermissionDenied, "not part of organization"),
        ("gone", "org", Code::PermissionDenied, "node gone was removed from swarm"),
        ("stranger", "org", Code::NotFound, "node not found"),
    ] {
        let mut client = bench.client(node_id, organization);
        let (got, message) = refused(open(&mut client, "", "host").await);
        assert_eq!(got, code, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn a_removed_node_loses_its_session() {
    let bench = Bench::start(Timing::default()).await;
    let mut client = bench.client("n1", "org");
    let mut session = open(&mut client, "", "host").await.expect("a session");
    message(&mut session).await;
    bench.store.update::<_, Error>(|tx| tx.delete::<Node>("n1")).await.expect("deleted");
    let ended = loop {
        if let Err(status) = next(&mut session).await {
            break status;
        }
    };
    assert_eq!((ended.code(), ended.message()), (Code::NotFound, "node not found"));
}

#[tokio::test]
async fn nothing_is_served_without_leadership_and_a_new_term_starts_anew() {
    let mut bench = Bench::start(Timing::default()).await;
    let mut client = bench.client("n1", "org");
    let mut session = open(&mut client, "", "host").await.expect("a session");
    let session_id = message(&mut session).await.session_id;
    drop(bench.stop.take());
    let ended = loop {
        if let Err(status) = next(&mut session).await {
            break status;
        }
    };
    let stopped = (Code::Aborted, "dispatcher is stopped".to_owned());
    assert_eq!((ended.code(), ended.message().to_owned()), stopped);
    assert_eq!(refused(open(&mut client, &session_id, "host").await), stopped);
    bench.lead().await;
    let mut session = open(&mut client, &session_id, "host").await.expect("a session");
    assert_ne!(message(&mut session).await.session_id, session_id);
}

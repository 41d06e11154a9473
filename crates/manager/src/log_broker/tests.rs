//! Both services end to end in one process: generated clients, identities as TLS gives them.

use std::time::Duration;

use swarm_ca::{Identity, Role, local_as};
use swarm_proto::Channel;
use swarm_proto::v1::log_broker_client::LogBrokerClient;
use swarm_proto::v1::log_broker_server::LogBrokerServer;
use swarm_proto::v1::logs_client::LogsClient;
use swarm_proto::v1::logs_server::LogsServer;
use swarm_proto::v1::{
    Annotations, Cluster, ClusterSpec, ListenSubscriptionsRequest, LogContext, LogMessage,
    LogSelector, LogSubscriptionOptions, Node, NodeStatus, PublishLogsMessage,
    SubscribeLogsMessage, SubscribeLogsRequest, SubscriptionMessage, Task, TaskState, TaskStatus,
    node_status,
};
use swarm_store::{Error, ImmediateProposer, Store};
use tonic::{Code, Status, Streaming};

use super::LogBroker;

/// A broker that runs, over a store in which task `t<i>` of service `s` runs on node `n<i>`.
struct Bench {
    store: Store,
    broker: LogBroker,
}

impl Bench {
    async fn start(tasks: usize) -> Self {
        let store = ImmediateProposer::store();
        let name = Annotations { name: "default".into(), ..Annotations::default() };
        let spec = Some(ClusterSpec { annotations: Some(name), ..ClusterSpec::default() });
        let cluster = Cluster { id: "org".into(), spec, ..Cluster::default() };
        store.update::<_, Error>(|tx| tx.create(cluster)).await.expect("created");
        let broker = LogBroker::new(store.clone());
        let bench = Self { store, broker };
        for i in 1..=tasks {
            let node = Node { id: format!("n{i}"), ..Node::default() };
            bench.store.update::<_, Error>(|tx| tx.create(node)).await.expect("created");
            bench.put_task(&format!("t{i}"), &format!("n{i}")).await;
        }
        let running = bench.broker.clone();
        tokio::spawn(async move { running.run(std::future::pending()).await });
        while bench.broker.term().is_err() {
            tokio::task::yield_now().await;
        }
        bench
    }

    async fn put_task(&self, id: &str, node_id: &str) {
        let status = Some(TaskStatus { state: TaskState::Running as i32, ..TaskStatus::default() });
        let (id, node_id, service_id) = (id.to_owned(), node_id.to_owned(), "s".to_owned());
        let task = Task { id, node_id, service_id, status, ..Task::default() };
        self.store.update::<_, Error>(|tx| tx.create(task)).await.expect("created");
    }

    async fn subscribe(
        &self,
        role: Role,
        follow: bool,
    ) -> Result<Streaming<SubscribeLogsMessage>, Status> {
        let identity = Identity { node_id: "m".into(), role, organization: "org".into() };
        let mut client = LogsClient::new(local_as(identity, LogsServer::new(self.broker.clone())));
        let selector =
            Some(LogSelector { service_ids: vec!["s".into()], ..LogSelector::default() });
        let options =
            Some(LogSubscriptionOptions { follow, tail: -11, ..LogSubscriptionOptions::default() });
        client
            .subscribe_logs(SubscribeLogsRequest { selector, options })
            .await
            .map(tonic::Response::into_inner)
    }

    async fn agent(&self, node_id: &str) -> Agent {
        let identity =
            Identity { node_id: node_id.into(), role: Role::Worker, organization: "org".into() };
        let mut client =
            LogBrokerClient::new(local_as(identity, LogBrokerServer::new(self.broker.clone())));
        let listening =
            client.listen_subscriptions(ListenSubscriptionsRequest {}).await.expect("a stream");
        Agent { node_id: node_id.into(), client, subscriptions: listening.into_inner() }
    }
}

struct Agent {
    node_id: String,
    client: LogBrokerClient<Channel>,
    subscriptions: Streaming<SubscriptionMessage>,
}

impl Agent {
    async fn publish(
        &mut self,
        subscription_id: &str,
        origin: &str,
        lines: &[&str],
    ) -> Result<(), Status> {
        let line = |line: &&str| LogMessage {
            context: Some(LogContext { node_id: origin.into(), ..LogContext::default() }),
            data: line.as_bytes().to_vec(),
            ..LogMessage::default()
        };
        let id = subscription_id.to_owned();
        let messages = vec![
            PublishLogsMessage {
                subscription_id: id.clone(),
                messages: lines.iter().map(line).collect(),
                close: false,
            },
            PublishLogsMessage { subscription_id: id, messages: Vec::new(), close: true },
        ];
        self.client.publish_logs(tokio_stream::iter(messages)).await.map(|_| ())
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    tokio::time::timeout(Duration::from_secs(10), stream.message())
        .await
        .expect("a message in time")
}

async fn message<T>(stream: &mut Streaming<T>) -> T {
    next(stream).await.expect("no error").expect("a message")
}

/// All lines until the stream's end, and the error that it ended with.
async fn drain(logs: &mut Streaming<SubscribeLogsMessage>) -> (Vec<String>, Option<String>) {
    let mut lines = Vec::new();
    loop {
        match next(logs).await {
            Ok(Some(batch)) => {
                lines.extend(
                    batch.messages.iter().map(|m| String::from_utf8_lossy(&m.data).into_owned()),
                );
            }
            Ok(None) => return (lines, None),
            Err(status) => return (lines, Some(status.message().to_owned())),
        }
    }
}

#[tokio::test]
async fn gathers_from_all_nodes_and_ends() {
    let bench = Bench::start(2).await;
    let mut agents = [bench.agent("n1").await, bench.agent("n2").await];
    let mut logs = bench.subscribe(Role::Manager, false).await.expect("a stream");
    for agent in &mut agents {
        let subscription = message(&mut agent.subscriptions).await;
        assert_eq!(subscription.options.expect("options").tail, -11);
        let node_id = agent.node_id.clone();
        agent.publish(&subscription.id, &node_id, &[&node_id, "end"]).await.expect("taken");
    }
    assert_eq!(
        drain(&mut logs).await,
        (["n1", "end", "n2", "end"].map(str::to_owned).to_vec(), None)
    );
    assert!(message(&mut agents[0].subscriptions).await.close);
}

#[tokio::test]
async fn names_nodes_that_are_missing() {
    let bench = Bench::start(3).await;
    let mut first = bench.agent("n1").await;
    let mut second = bench.agent("n2").await;
    let mut logs = bench.subscribe(Role::Manager, false).await.expect("a stream");
    let id = message(&mut first.subscriptions).await.id;
    first.publish(&id, "n1", &["line"]).await.expect("taken");
    // n2's connection still stands, but the dispatcher has found it dead.
    message(&mut second.subscriptions).await;
    let status =
        Some(NodeStatus { state: node_status::State::Down as i32, ..NodeStatus::default() });
    let node = Node { status, ..Node::clone(bench.store.view().get::<Node>("n2").expect("there")) };
    bench.store.update::<_, Error>(|tx| tx.update(node)).await.expect("updated");
    let expect = "warning: incomplete log stream. some logs could not be retrieved for the following reasons: \
                  node n3 is not available, node n2 disconnected unexpectedly";
    assert_eq!(drain(&mut logs).await, (vec!["line".to_owned()], Some(expect.to_owned())));
}

#[tokio::test]
async fn following_reaches_new_tasks_until_the_client_goes() {
    let bench = Bench::start(1).await;
    let mut first = bench.agent("n1").await;
    let mut second = bench.agent("n2").await;
    let mut logs = bench.subscribe(Role::Manager, true).await.expect("a stream");
    message(&mut first.subscriptions).await;
    bench.put_task("t2", "n2").await;
    let id = message(&mut second.subscriptions).await.id;
    second.publish(&id, "n2", &["line"]).await.expect("taken");
    assert_eq!(message(&mut logs).await.messages[0].data, b"line");
    drop(logs);
    assert!(message(&mut first.subscriptions).await.close);
    let late = second.publish(&id, "n2", &["late"]).await.expect_err("refused");
    assert_eq!((late.code(), late.message()), (Code::NotFound, "unknown subscription ID"));
}

#[tokio::test]
async fn nodes_publish_only_their_own_logs_to_what_asks_for_them() {
    let bench = Bench::start(1).await;
    let mut agent = bench.agent("n1").await;
    let mut stranger = bench.agent("n9").await;
    let mut logs = bench.subscribe(Role::Manager, false).await.expect("a stream");
    let id = message(&mut agent.subscriptions).await.id;
    let refused = stranger.publish(&id, "n9", &["x"]).await.expect_err("refused");
    assert_eq!(refused.message(), "unknown subscription ID");
    let refused = agent.publish(&id, "n2", &["x"]).await.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::PermissionDenied, "invalid NodeID: expected=n1;received=n2")
    );
    assert_eq!(drain(&mut logs).await.0, Vec::<String>::new());
    let refused = bench.subscribe(Role::Worker, false).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

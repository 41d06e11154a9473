//! Log subscriptions: the manager asks for lines of some tasks, and the agent publishes them until asked to stop.
//!
//! Mirrors SwarmKit's `agent/worker.go` (Subscribe) and `agent/exec` log publishers.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, Stream};
use swarm_proto::Channel;
use swarm_proto::v1::log_broker_client::LogBrokerClient;
use swarm_proto::v1::{LogContext, LogMessage, PublishLogsMessage, SubscriptionMessage};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tracing::debug;

use crate::worker::Worker;

/// Lines that wait for the network per subscription; a reader waits beyond that.
const LINES_WAITING_MAX: usize = 256;
/// Lines in one message; with lines of 16 KiB at most it stays within gRPC's 4 MiB.
const LINES_PER_MESSAGE_MAX: usize = 64;

/// The subscriptions of one session; dropping it ends them.
pub(crate) struct Subscriptions {
    node_id: String,
    worker: Arc<Worker>,
    broker: LogBrokerClient<Channel>,
    running: HashMap<String, JoinHandle<()>>,
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        for publisher in self.running.values() {
            publisher.abort();
        }
    }
}

impl Subscriptions {
    pub(crate) fn new(
        node_id: String,
        worker: Arc<Worker>,
        broker: LogBrokerClient<Channel>,
    ) -> Self {
        Self { node_id, worker, broker, running: HashMap::new() }
    }

    /// Begins, or ends, a subscription. A repeated one covers tasks that came since, so it begins anew only if ended.
    pub(crate) fn follow(&mut self, message: SubscriptionMessage) {
        self.running.retain(|_, publisher| !publisher.is_finished());
        if message.close {
            if let Some(publisher) = self.running.remove(&message.id) {
                publisher.abort();
            }
            return;
        }
        if self.running.contains_key(&message.id) {
            return;
        }
        let (node_id, worker, broker) =
            (self.node_id.clone(), self.worker.clone(), self.broker.clone());
        let id = message.id.clone();
        let publisher = tokio::spawn(publish(node_id, worker, broker, message));
        self.running.insert(id, publisher);
    }
}

async fn publish(
    node_id: String,
    worker: Arc<Worker>,
    mut broker: LogBrokerClient<Channel>,
    message: SubscriptionMessage,
) {
    let id = message.id.clone();
    let (sink, lines) = mpsc::channel(LINES_WAITING_MAX);
    let reading = tokio::spawn(read_all(node_id, worker, message, sink));
    let abort = AbortOnDrop(reading);
    if let Err(status) = broker.publish_logs(messages(id.clone(), lines)).await {
        debug!(subscription.id = id, %status, "publishing logs ended");
    }
    drop(abort);
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The lines in messages, and a last one that says that there are no more.
fn messages(
    id: String,
    lines: mpsc::Receiver<LogMessage>,
) -> impl Stream<Item = PublishLogsMessage> + Send + 'static {
    let last = id.clone();
    let batches = stream::unfold((id, lines), |(id, mut lines)| async move {
        let mut messages = Vec::new();
        if lines.recv_many(&mut messages, LINES_PER_MESSAGE_MAX).await == 0 {
            return None;
        }
        let batch = PublishLogsMessage { subscription_id: id.clone(), messages, close: false };
        Some((batch, (id, lines)))
    });
    batches.chain(stream::once(async move {
        PublishLogsMessage { subscription_id: last, messages: Vec::new(), close: true }
    }))
}

/// Reads the logs of all selected tasks side by side; where they are followed, of tasks that come later too.
async fn read_all(
    node_id: String,
    worker: Arc<Worker>,
    message: SubscriptionMessage,
    sink: mpsc::Sender<LogMessage>,
) {
    let selector = message.selector.unwrap_or_default();
    let options = message.options.unwrap_or_default();
    let mut readers = JoinSet::new();
    let mut known = std::collections::HashSet::new();
    let mut looks = tokio::time::interval(NEW_TASKS_LOOK);
    loop {
        for (task, controller) in worker.select(&selector, &node_id).await {
            if !known.insert(task.id.clone()) {
                continue;
            }
            let context = LogContext {
                service_id: task.service_id.clone(),
                node_id: node_id.clone(),
                task_id: task.id.clone(),
            };
            let (options, sink) = (options.clone(), sink.clone());
            readers.spawn(async move {
                let (inner, mut lines) = mpsc::channel::<LogMessage>(LINES_WAITING_MAX);
                let reading = async {
                    if let Err(error) = controller.logs(options, inner).await {
                        debug!(task.id = context.task_id, %error, "reading a task's logs ended");
                    }
                };
                let passing = async {
                    while let Some(mut line) = lines.recv().await {
                        line.context = Some(context.clone());
                        if sink.send(line).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::join!(reading, passing);
            });
        }
        if !options.follow {
            break;
        }
        looks.tick().await;
    }
    while readers.join_next().await.is_some() {}
}

/// How often a followed subscription looks for tasks that were assigned since.
const NEW_TASKS_LOOK: std::time::Duration = std::time::Duration::from_millis(250);

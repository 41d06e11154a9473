//! Server streams: each looks at the tables when its session is woken and sends what is new.
//!
//! A node has several and most of them rest, so what one keeps meanwhile is little: what was sent is remembered by the
//! objects that it was made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::Map;
use swarm_proto::v1::{
    AssignmentsMessage, Cluster, Node, SessionMessage, Task, TaskState, TasksMessage, WeightedPeer,
};
use swarm_store::{Store, Tables};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::assignments::{AssignmentSet, matters_to_agent, state};
use crate::config::{ASSIGNMENT_WINDOW, STREAM_MESSAGES_WAITING_MAX, window};
use crate::hub::{Count, Signal};
use crate::leadership::Peers;
use crate::messages::Sequence;

/// How long a peer that lags behind is given to read why its stream ends.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// What waits to be read by the peer.
pub type Waiting<T> = Result<Box<T>, Status>;

/// A server stream's messages.
pub type Messages<T> = Map<ReceiverStream<Waiting<T>>, fn(Waiting<T>) -> Result<T, Status>>;

/// The two ends of a server stream that takes little while it rests: what waits in it does so behind a pointer, as a
/// channel has room for 32 messages whatever its bound.
pub fn channel<T>() -> (mpsc::Sender<Waiting<T>>, Messages<T>) {
    let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_WAITING_MAX);
    let unpacked: fn(Waiting<T>) -> Result<T, Status> = |waiting| waiting.map(|message| *message);
    (sender, ReceiverStream::new(receiver).map(unpacked))
}

/// Makes a stream's messages from states of the tables.
pub(crate) trait Source: Send + 'static {
    /// What the stream carries.
    type Message: Send;

    /// How long changes are collected at least once a message was sent.
    const WINDOW: Duration;

    /// The messages that bring the peer up to date; none when it is.
    fn advance(&mut self, tables: &Tables) -> Vec<Self::Message>;
}

/// Sends until the peer has gone or the session is over, which the peer is told.
pub(crate) async fn serve<S: Source>(
    mut source: S,
    store: Store,
    mut signal: watch::Receiver<Signal>,
    sessions: Count,
    messages: mpsc::Sender<Waiting<S::Message>>,
) {
    loop {
        let ended = signal.borrow_and_update().ended.clone();
        if let Some(reason) = ended {
            // A peer that does not read has gone as well.
            let _ = messages.send_timeout(Err(reason.into()), FAREWELL_MAX).await;
            return;
        }
        let news = pack(source.advance(&store.view()));
        let sent_at = (!news.is_empty()).then(Instant::now);
        for message in news {
            tokio::select! {
                sent = messages.send(Ok(message)) => if sent.is_err() { return },
                () = over(signal.clone()) => break,
            }
        }
        tokio::select! {
            () = messages.closed() => return,
            changed = signal.changed() => if changed.is_err() { return },
        }
        if let Some(sent_at) = sent_at {
            tokio::time::sleep_until(sent_at + window(S::WINDOW, sessions.get())).await;
        }
    }
}

fn pack<T>(messages: Vec<T>) -> Vec<Box<T>> {
    messages.into_iter().map(Box::new).collect()
}

/// Waits for the session's end.
async fn over(mut signal: watch::Receiver<Signal>) {
    // An error means that the sender has gone, which is an end too.
    let _ = signal.wait_for(|signal| signal.ended.is_some()).await;
}

/// The session's own stream.
pub(crate) struct SessionSource {
    pub(crate) node_id: String,
    pub(crate) session_id: String,
    pub(crate) peers: Peers,
    pub(crate) sent: Option<SentSession>,
}

/// What the last session message was made of; compared by pointer first, as most wake-ups concern tasks.
pub(crate) struct SentSession {
    node: Option<Arc<Node>>,
    cluster: Option<Arc<Cluster>>,
    peers: Vec<WeightedPeer>,
}

impl SentSession {
    /// Whether a message of the other would say something else.
    fn differs(&self, other: &Self) -> bool {
        let shown = |sent: &Self| {
            let cluster = sent.cluster.as_deref();
            cluster.map(|cluster| (cluster.network_bootstrap_keys.clone(), ca_cert(cluster)))
        };
        self.node != other.node || self.peers != other.peers || shown(self) != shown(other)
    }
}

fn ca_cert(cluster: &Cluster) -> Vec<u8> {
    cluster.root_ca.as_ref().map(|ca| ca.ca_cert.clone()).unwrap_or_default()
}

impl Source for SessionSource {
    type Message = SessionMessage;

    const WINDOW: Duration = Duration::ZERO;

    fn advance(&mut self, tables: &Tables) -> Vec<SessionMessage> {
        let node = tables.get::<Node>(&self.node_id).cloned();
        let cluster = tables.cluster().cloned();
        let peers = self.peers.borrow_and_update().clone();
        let is_same = |a: &SentSession| {
            is_same_object(&a.node, &node)
                && is_same_object(&a.cluster, &cluster)
                && a.peers == peers
        };
        if self.sent.as_ref().is_some_and(is_same) {
            return Vec::new();
        }
        let now = SentSession { node, cluster, peers };
        let is_news = self.sent.as_ref().is_none_or(|sent| sent.differs(&now));
        let SentSession { node, cluster, peers } = self.sent.insert(now);
        if !is_news {
            return Vec::new();
        }
        vec![SessionMessage {
            session_id: self.session_id.clone(),
            node: node.as_deref().cloned(),
            managers: peers.clone(),
            network_bootstrap_keys: cluster
                .as_ref()
                .map(|c| c.network_bootstrap_keys.clone())
                .unwrap_or_default(),
            root_ca: cluster.as_deref().map(ca_cert).unwrap_or_default(),
        }]
    }
}

fn is_same_object<T>(a: &Option<Arc<T>>, b: &Option<Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Assignments, whole first and then by their changes.
pub(crate) struct AssignmentSource {
    pub(crate) set: AssignmentSet,
    pub(crate) sequence: Sequence,
}

impl Source for AssignmentSource {
    type Message = AssignmentsMessage;

    const WINDOW: Duration = ASSIGNMENT_WINDOW;

    fn advance(&mut self, tables: &Tables) -> Vec<AssignmentsMessage> {
        let changes = self.set.reconcile(tables);
        self.sequence.cut(changes)
    }
}

/// The legacy stream: all tasks of the node every time.
pub(crate) struct TaskSource {
    pub(crate) node_id: String,
    pub(crate) sent: Option<BTreeMap<String, Arc<Task>>>,
}

impl Source for TaskSource {
    type Message = TasksMessage;

    const WINDOW: Duration = ASSIGNMENT_WINDOW;

    fn advance(&mut self, tables: &Tables) -> Vec<TasksMessage> {
        let tasks: BTreeMap<String, Arc<Task>> = tables
            .tasks_by_node(&self.node_id)
            .filter(|task| state(task) >= TaskState::Assigned as i32)
            .map(|task| (task.id.clone(), task.clone()))
            .collect();
        let is_news = self.sent.as_ref().is_none_or(|sent| {
            sent.len() != tasks.len()
                || tasks
                    .iter()
                    .any(|(id, task)| sent.get(id).is_none_or(|old| matters_to_agent(old, task)))
        });
        let message =
            TasksMessage { tasks: tasks.values().map(|task| Task::clone(task)).collect() };
        self.sent = Some(tasks);
        if is_news { vec![message] } else { Vec::new() }
    }
}

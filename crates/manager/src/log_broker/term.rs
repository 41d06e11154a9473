//! One term of leading: the registry, the outboxes of subscribers, and the news that wakes streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm_proto::v1::{LogMessage, Node, SubscriptionMessage, node_status};
use swarm_store::{Change, Commit, Delta, Tables, Watch};
use tokio::sync::{mpsc, watch};

use super::registry::Registry;

/// Batches of messages that wait for a client. Agents send batches of up to 64 KiB or so; beyond this, they wait.
const OUTBOX_BATCHES_MAX: usize = 32;

/// Where a subscription's messages go.
pub(super) type Outbox = mpsc::Sender<Vec<LogMessage>>;

/// What runs while this manager leads.
pub(super) struct Term {
    state: Mutex<State>,
    /// True once the term is over; marked as changed whenever the registry changed.
    news: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    registry: Registry,
    outboxes: BTreeMap<String, Outbox>,
}

impl Term {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), news: watch::Sender::new(false) }
    }

    /// Follows the store until the future is dropped.
    pub(super) async fn run(&self, mut watch: Watch) {
        loop {
            let commit = watch.next().await;
            self.observe(&commit);
        }
    }

    /// Ends all streams.
    pub(super) fn end(&self) {
        self.state().outboxes.clear();
        self.news.send_replace(true);
    }

    /// Wakes its reader at every change; true when the term is over.
    pub(super) fn news(&self) -> watch::Receiver<bool> {
        self.news.subscribe()
    }

    /// Waits until the term is over.
    pub(super) async fn over(&self) {
        // The sender lives as long as `self`.
        let _ = self.news().wait_for(|is_over| *is_over).await;
    }

    /// Looks at the registry.
    pub(super) fn read<R>(&self, look: impl FnOnce(&Registry) -> R) -> R {
        look(&self.state().registry)
    }

    /// Changes the registry and wakes the streams.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Registry) -> R) -> R {
        let result = change(&mut self.state().registry);
        self.news.send_modify(|_| {});
        result
    }

    /// As [`Term::change`], where the change tells whether there is anything to wake the streams for: they are as many as
    /// there are nodes.
    pub(super) fn change_if(&self, change: impl FnOnce(&mut Registry) -> bool) {
        let is_news = change(&mut self.state().registry);
        if is_news {
            self.news.send_modify(|_| {});
        }
    }

    /// Adds a subscription; its messages come out of the receiver.
    pub(super) fn subscribe(
        &self,
        message: SubscriptionMessage,
        tables: &Tables,
    ) -> mpsc::Receiver<Vec<LogMessage>> {
        let (outbox, messages) = mpsc::channel(OUTBOX_BATCHES_MAX);
        self.state().outboxes.insert(message.id.clone(), outbox);
        self.change(|registry| registry.subscribe(message, tables));
        messages
    }

    /// Removes a subscription.
    pub(super) fn unsubscribe(&self, id: &str) {
        self.state().outboxes.remove(id);
        self.change(|registry| registry.unsubscribe(id));
    }

    /// Where the node's messages for a subscription go; none if they are not asked for.
    pub(super) fn outbox(&self, id: &str, node_id: &str) -> Option<Outbox> {
        let state = self.state();
        state.registry.expects(id, node_id).then(|| state.outboxes.get(id).cloned())?
    }

    fn observe(&self, commit: &Commit) {
        if commit.resync {
            self.change(|registry| registry.resync(&commit.tables));
            return;
        }
        for change in commit.changes.iter() {
            match change {
                Change::Task(Delta { new: Some(task), .. }) => {
                    self.change_if(|registry| registry.observe_task(task));
                }
                Change::Node(Delta { old: Some(node), new: None }) => {
                    self.change_if(|registry| registry.lose(&node.id));
                }
                Change::Node(Delta { old: Some(old), new: Some(node) })
                    if is_down(node) && !is_down(old) =>
                {
                    self.change_if(|registry| registry.lose(&node.id));
                }
                _ => {}
            }
        }
    }

    // Both maps are whole between any two statements that could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_down(node: &Arc<Node>) -> bool {
    node.status.as_ref().is_some_and(|status| status.state == node_status::State::Down as i32)
}

//! Which subscription concerns which nodes, and when it is complete: the broker's state without I/O.
//!
//! Mirrors SwarmKit's `logbroker/subscription.go`, its texts included.

use std::collections::{BTreeMap, BTreeSet};

use swarm_proto::v1::{SubscriptionMessage, Task, TaskState};
use swarm_store::Tables;

/// Names one listening stream of a node, so that an old stream's end is not taken for the newest's.
pub(super) type ListenerId = u64;

/// All subscriptions, and the nodes that listen for them.
#[derive(Debug, Default)]
pub(super) struct Registry {
    subscriptions: BTreeMap<String, Subscription>,
    listeners: BTreeMap<String, ListenerId>,
}

#[derive(Debug)]
struct Subscription {
    message: SubscriptionMessage,
    /// The nodes that have logs to send; one that does not follow loses them as they finish.
    nodes: BTreeSet<String>,
    pending_tasks: BTreeSet<String>,
    /// What is missing, in the order in which it turned out; no reason is kept twice.
    errors: Vec<String>,
}

impl Registry {
    /// Adds a subscription; the nodes are those of the tasks that it selects. Nodes that don't listen are noted as
    /// missing.
    pub(super) fn subscribe(&mut self, message: SubscriptionMessage, tables: &Tables) {
        let mut subscription = Subscription {
            nodes: BTreeSet::new(),
            pending_tasks: BTreeSet::new(),
            errors: Vec::new(),
            message,
        };
        subscription.select(tables);
        for node_id in subscription.nodes.clone() {
            if !self.listeners.contains_key(&node_id) {
                subscription.done(&node_id, Some(format!("node {node_id} is not available")));
            }
        }
        self.subscriptions.insert(subscription.message.id.clone(), subscription);
    }

    /// Removes a subscription.
    pub(super) fn unsubscribe(&mut self, id: &str) {
        self.subscriptions.remove(id);
    }

    /// A task came into being or changed: subscriptions that follow it may need its node. Whether one does.
    pub(super) fn observe_task(&mut self, task: &Task) -> bool {
        let following =
            self.subscriptions.values_mut().filter(|subscription| subscription.follows());
        following
            .filter(|subscription| subscription.selects(task))
            .fold(false, |any, s| s.add(task) | any)
    }

    /// Changes were missed: selects anew for all that follow.
    pub(super) fn resync(&mut self, tables: &Tables) {
        for subscription in
            self.subscriptions.values_mut().filter(|subscription| subscription.follows())
        {
            subscription.select(tables);
        }
    }

    /// A node listens for subscriptions. Whether that is news for another stream: an older one of the node.
    pub(super) fn connect(&mut self, node_id: &str, listener: ListenerId) -> bool {
        self.listeners.insert(node_id.to_owned(), listener).is_some()
    }

    /// A node's stream has ended; nothing happens if it has a newer one. Whether that is news for others.
    pub(super) fn disconnect(&mut self, node_id: &str, listener: ListenerId) -> bool {
        self.is_listening(node_id, listener) && {
            self.listeners.remove(node_id);
            self.lose(node_id)
        }
    }

    /// The node is known to be gone, whatever its connections look like. Whether that is news for any stream.
    pub(super) fn lose(&mut self, node_id: &str) -> bool {
        let mut is_news = self.listeners.remove(node_id).is_some();
        for subscription in self.subscriptions.values_mut().filter(|s| s.nodes.contains(node_id)) {
            subscription.done(node_id, Some(format!("node {node_id} disconnected unexpectedly")));
            is_news = true;
        }
        is_news
    }

    /// Whether this is the node's newest stream.
    pub(super) fn is_listening(&self, node_id: &str, listener: ListenerId) -> bool {
        self.listeners.get(node_id) == Some(&listener)
    }

    /// Whether the node may publish to the subscription.
    pub(super) fn expects(&self, id: &str, node_id: &str) -> bool {
        self.subscriptions.get(id).is_some_and(|subscription| subscription.nodes.contains(node_id))
    }

    /// The node has sent all that it has, or failed to.
    pub(super) fn done(&mut self, id: &str, node_id: &str, error: Option<String>) {
        if let Some(subscription) = self.subscriptions.get_mut(id) {
            subscription.done(node_id, error);
        }
    }

    /// The subscriptions that the node has to serve.
    pub(super) fn for_node(&self, node_id: &str) -> BTreeMap<String, SubscriptionMessage> {
        let concerned = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.nodes.contains(node_id));
        concerned.map(|(id, subscription)| (id.clone(), subscription.message.clone())).collect()
    }

    /// Once all of a subscription's nodes are done: what is missing, if anything. None until then, and always for
    /// one that follows.
    pub(super) fn outcome(&self, id: &str) -> Option<Result<(), String>> {
        let subscription = self.subscriptions.get(id)?;
        let is_finished = !subscription.follows() && subscription.nodes.is_empty();
        is_finished.then(|| subscription.missing())
    }
}

impl Subscription {
    fn follows(&self) -> bool {
        self.message.options.as_ref().is_some_and(|options| options.follow)
    }

    fn select(&mut self, tables: &Tables) {
        let selector = self.message.selector.clone().unwrap_or_default();
        self.nodes.extend(selector.node_ids);
        for task in selector.task_ids.iter().filter_map(|id| tables.get::<Task>(id)) {
            self.add(task);
        }
        for task in selector.service_ids.iter().flat_map(|id| tables.tasks_by_service(id)) {
            // What does not follow has no use for tasks that have not written anything yet.
            if self.follows() || state(task) >= TaskState::Running as i32 {
                self.add(task);
            }
        }
    }

    fn selects(&self, task: &Task) -> bool {
        let selector = self.message.selector.as_ref();
        selector.is_some_and(|s| {
            s.task_ids.contains(&task.id) || s.service_ids.contains(&task.service_id)
        })
    }

    /// Adds the task's node. Whether it is new.
    fn add(&mut self, task: &Task) -> bool {
        if task.node_id.is_empty() {
            self.pending_tasks.insert(task.id.clone());
            return false;
        }
        self.pending_tasks.remove(&task.id);
        self.nodes.insert(task.node_id.clone())
    }

    fn done(&mut self, node_id: &str, error: Option<String>) {
        if let Some(error) = error.filter(|error| !self.errors.contains(error)) {
            self.errors.push(error);
        }
        if !self.follows() {
            self.nodes.remove(node_id);
        }
    }

    fn missing(&self) -> Result<(), String> {
        let unscheduled =
            self.pending_tasks.iter().map(|id| format!("task {id} has not been scheduled"));
        let reasons: Vec<String> = self.errors.iter().cloned().chain(unscheduled).collect();
        if reasons.is_empty() {
            return Ok(());
        }
        Err(format!(
            "warning: incomplete log stream. some logs could not be retrieved for the following reasons: {}",
            reasons.join(", ")
        ))
    }
}

fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(TaskState::New as i32, |status| status.state)
}

#[cfg(test)]
mod tests;

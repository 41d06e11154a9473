//! Writes that wait for one transaction, coalesced per object.
//!
//! Of several statuses of one task the furthest counts, of several states of a node the last. Applied to a
//! transaction, a task's state only moves forward, and what would change nothing is left out. Mirrors the batches of
//! SwarmKit's `Dispatcher.processUpdates`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::volume_publish_status::State as PublishState;
use swarm_proto::v1::{Node, NodeDescription, Task, TaskState, TaskStatus, Volume};
use swarm_store::{Error, Transaction};

use crate::assignments::state;

/// What is to be written of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeUpdate {
    /// Its state.
    pub state: State,
    /// Why it is in this state; empty for READY.
    pub message: String,
    /// Its address, where a call showed it.
    pub addr: Option<String>,
    /// What it says of itself, when it registers.
    pub description: Option<NodeDescription>,
    /// Whether an agent of ours runs there, when it registers.
    pub is_swift: Option<bool>,
}

/// Writes that go into one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    tasks: BTreeMap<String, TaskStatus>,
    nodes: BTreeMap<String, NodeUpdate>,
    /// (volume, node).
    unpublished: BTreeSet<(String, String)>,
    orphaned_nodes: BTreeSet<String>,
}

impl Batch {
    /// Adds a task's status, unless one of a later state waits already.
    pub fn report_task(&mut self, task_id: String, status: TaskStatus) {
        match self.tasks.get_mut(&task_id) {
            Some(waiting) if waiting.state > status.state => {}
            Some(waiting) => *waiting = status,
            None => {
                self.tasks.insert(task_id, status);
            }
        }
    }

    /// Adds a node's state; a description or address that waits is kept if this one has none.
    pub fn set_node(&mut self, node_id: String, mut update: NodeUpdate) {
        if let Some(waiting) = self.nodes.remove(&node_id) {
            update.description = update.description.or(waiting.description);
            update.addr = update.addr.or(waiting.addr);
            update.is_swift = update.is_swift.or(waiting.is_swift);
        }
        self.nodes.insert(node_id, update);
    }

    /// Adds that the node no longer uses the volume.
    pub fn unpublish_volume(&mut self, volume_id: String, node_id: String) {
        self.unpublished.insert((volume_id, node_id));
    }

    /// Adds that the node's unfinished tasks are lost.
    pub fn orphan_tasks(&mut self, node_id: String) {
        self.orphaned_nodes.insert(node_id);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
            && self.nodes.is_empty()
            && self.unpublished.is_empty()
            && self.orphaned_nodes.is_empty()
    }

    /// Takes out at most `limit` task statuses, and everything else, for one transaction.
    pub fn take(&mut self, limit: usize) -> Batch {
        let mut taken = std::mem::take(self);
        if let Some(key) = taken.tasks.keys().nth(limit).cloned() {
            self.tasks = taken.tasks.split_off(&key);
        }
        taken
    }

    /// Adds what another batch was left with.
    pub fn put_back(&mut self, rest: Batch) {
        self.tasks.extend(rest.tasks);
        self.orphaned_nodes.extend(rest.orphaned_nodes);
    }

    /// Writes the batch; objects that are gone are passed over. What comes back is left for the next transaction, as
    /// this one has bytes enough.
    ///
    /// # Errors
    /// The store's.
    pub fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        applied_by: &str,
    ) -> Result<Batch, Error> {
        let mut rest = Batch::default();
        for (node_id, update) in &self.nodes {
            apply_node(transaction, node_id, update)?;
        }
        for (volume_id, node_id) in &self.unpublished {
            apply_unpublished(transaction, volume_id, node_id)?;
        }
        for (task_id, status) in &self.tasks {
            if transaction.is_full() {
                rest.tasks.insert(task_id.clone(), status.clone());
            } else {
                apply_status(transaction, applied_by, task_id, status)?;
            }
        }
        for node_id in &self.orphaned_nodes {
            if !apply_orphaned(transaction, node_id)? {
                rest.orphaned_nodes.insert(node_id.clone());
            }
        }
        Ok(rest)
    }
}

fn apply_status(
    transaction: &mut Transaction<'_>,
    applied_by: &str,
    task_id: &str,
    status: &TaskStatus,
) -> Result<(), Error> {
    let Some(task) = transaction.get::<Task>(task_id).cloned() else { return Ok(()) };
    if state(&task) > status.state
        || task.status.as_ref().is_some_and(|old| is_same_report(old, status))
    {
        return Ok(());
    }
    tracing::debug!(task.id = task_id, from = state(&task), to = status.state, "task state");
    let status = TaskStatus {
        applied_by: applied_by.to_owned(),
        applied_at: Some(from_system_time(transaction.now())),
        ..status.clone()
    };
    transaction.update(Task { status: Some(status), ..Arc::unwrap_or_clone(task) })
}

/// Whether a report says nothing new: who wrote it down and when does not count.
fn is_same_report(old: &TaskStatus, new: &TaskStatus) -> bool {
    let report = |status: &TaskStatus| TaskStatus {
        applied_by: String::new(),
        applied_at: None,
        ..status.clone()
    };
    report(old) == report(new)
}

fn apply_node(
    transaction: &mut Transaction<'_>,
    node_id: &str,
    update: &NodeUpdate,
) -> Result<(), Error> {
    let Some(old) = transaction.get::<Node>(node_id).cloned() else { return Ok(()) };
    let mut node = Node::clone(&old);
    let status = node.status.get_or_insert_default();
    let from = status.state;
    status.state = update.state as i32;
    status.message.clone_from(&update.message);
    if let Some(addr) = &update.addr {
        status.addr.clone_from(addr);
    }
    status.swift = update.is_swift.unwrap_or(status.swift);
    if let Some(description) = &update.description {
        node.description = Some(description.clone());
    }
    match update.state {
        // Whatever waits for the node counts from here, whoever leads then.
        State::Down if from != State::Down as i32 => {
            status.down_since = Some(from_system_time(transaction.now()));
        }
        State::Down => {}
        _ => status.down_since = None,
    }
    if node == *old {
        return Ok(());
    }
    if from != update.state as i32 {
        tracing::info!(node.id = node_id, from, to = ?update.state, reason = update.message, "node state");
    }
    transaction.update(node)
}

fn apply_unpublished(
    transaction: &mut Transaction<'_>,
    volume_id: &str,
    node_id: &str,
) -> Result<(), Error> {
    let Some(volume) = transaction.get::<Volume>(volume_id).cloned() else { return Ok(()) };
    let mut volume = Arc::unwrap_or_clone(volume);
    let Some(status) = volume.publish_status.iter_mut().find(|status| status.node_id == node_id)
    else {
        return Ok(());
    };
    if status.state == PublishState::PendingUnpublish as i32 {
        return Ok(());
    }
    status.state = PublishState::PendingUnpublish as i32;
    transaction.update(volume)
}

/// False where the transaction had no room for all of them.
fn apply_orphaned(transaction: &mut Transaction<'_>, node_id: &str) -> Result<bool, Error> {
    let unfinished = TaskState::Assigned as i32..=TaskState::Running as i32;
    let lost: Vec<Arc<Task>> = transaction
        .tasks_by_node(node_id)
        .filter(|task| unfinished.contains(&state(task)))
        .cloned()
        .collect();
    for task in lost {
        if transaction.is_full() {
            return Ok(false);
        }
        let mut task = Arc::unwrap_or_clone(task);
        task.status.get_or_insert_default().state = TaskState::Orphaned as i32;
        transaction.update(task)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;

//! The control loop: follows nodes and tasks by their changes, and plans an assignment for every task that waits.
//!
//! A task waits while it is PENDING. One that has no node is placed; one that came with a node (a global service's) is
//! only checked against it. What does not fit stays waiting with the reason in `status.err`, and is tried again on the
//! nodes that change or lose a task: a plan costs what happened since the last one, not what waits. Mirrors SwarmKit's
//! `manager/scheduler/scheduler.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::v1::{Node, Service, Task, TaskState, service_spec};
use swarm_store::{Change, ControlLoop, Delta, Tables, Write};

use crate::demand::Demand;
use crate::failures::{Failures, VersionedService};
use crate::filter;
use crate::node::{NodeInfo, is_active, is_placed, observed, resources};
use crate::waiting::Waiting;

/// The scheduler's state: derived from the tables, but for the failures that it saw.
#[derive(Debug, Default)]
pub struct Scheduler {
    pub(crate) nodes: BTreeMap<String, NodeInfo>,
    /// The tasks as they are counted on their nodes.
    pub(crate) counted: BTreeMap<String, Arc<Task>>,
    pub(crate) waiting: Waiting,
    /// Tasks that came with a node and wait for its being checked, by node.
    pub(crate) preassigned: BTreeMap<String, BTreeSet<String>>,
    /// Nodes to which such tasks came since the last plan.
    pub(crate) unchecked: BTreeSet<String>,
    /// Tasks that are not wanted any more before they had a node.
    pub(crate) unwanted: BTreeSet<String>,
    /// Nodes that may have room which they had not at the last plan.
    touched: BTreeSet<String>,
    /// Groups that may have room again.
    pub(crate) hopeful: BTreeSet<Arc<Demand>>,
    /// When reasons that are in doubt are told anew; none means at once.
    pub(crate) reasons_due: Option<SystemTime>,
    is_behind: bool,
}

impl ControlLoop for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn resync(&mut self, _now: SystemTime, tables: &Tables) {
        // Failures are no derived state: what was seen is kept for nodes that are still there.
        let mut failures: BTreeMap<_, _> = std::mem::take(&mut self.nodes)
            .into_iter()
            .map(|(id, info)| (id, info.failures))
            .collect();
        *self = Self::default();
        for node in tables.iter::<Node>() {
            let failures = failures.remove(&node.id).unwrap_or_default();
            self.nodes.insert(node.id.clone(), NodeInfo::new(node.clone(), failures));
        }
        for task in tables.iter::<Task>() {
            self.enqueue(task);
            self.count(task);
        }
    }

    fn observe(&mut self, now: SystemTime, tables: &Tables, change: &Change) {
        match change {
            Change::Node(delta) => self.observe_node(delta),
            Change::Task(delta) => self.observe_task(now, tables, delta),
            _ => {}
        }
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        let mut writes = Vec::new();
        let touched = std::mem::take(&mut self.touched);
        self.end_unwanted(now, tables, &mut writes);
        self.confirm_preassigned(now, tables, &touched, &mut writes);
        if !touched.is_empty() {
            let nodes: Vec<&NodeInfo> =
                touched.iter().filter_map(|id| self.nodes.get(id)).collect();
            self.hopeful
                .extend(self.waiting.hopeful(|demand| {
                    nodes.iter().any(|node| filter::check(demand, node).is_ok())
                }));
            self.waiting.doubt_reasons();
        }
        self.place_groups(now, tables, &mut writes);
        self.tell_reasons(now, tables, &mut writes);
        self.is_behind = self.waiting.has_unjudged() || !self.hopeful.is_empty();
        writes
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn wakeup(&self) -> Option<SystemTime> {
        self.reasons_due
    }
}

impl Scheduler {
    fn observe_node(&mut self, delta: &Delta<Node>) {
        let Some(node) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        self.touched.insert(node.id.clone());
        if delta.new.is_some() {
            self.replace_node(node);
        } else {
            self.nodes.remove(&node.id);
        }
    }

    /// Counts a node's tasks anew only where what it offers changed: nodes are written often, for other reasons.
    fn replace_node(&mut self, new: &Arc<Node>) {
        if let Some(info) = self.nodes.get_mut(&new.id)
            && resources(&info.node) == resources(new)
        {
            info.node = new.clone();
            return;
        }
        let failures =
            self.nodes.remove(&new.id).map_or_else(Failures::default, |info| info.failures);
        let mut info = NodeInfo::new(new.clone(), failures);
        for task in self.counted.values().filter(|task| task.node_id == new.id) {
            info.add(task);
        }
        self.nodes.insert(new.id.clone(), info);
    }

    fn observe_task(&mut self, now: SystemTime, tables: &Tables, delta: &Delta<Task>) {
        let Some(task) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        if is_only_told(delta) && self.waiting.contains(&task.id) {
            return;
        }
        self.uncount(&task.id);
        self.dequeue(delta);
        if let Some(new) = &delta.new {
            self.enqueue(new);
            self.count(new);
            if has_failed(delta)
                && !is_preassigned(tables, new)
                && let Some(info) = self.nodes.get_mut(&new.node_id)
            {
                info.failures.record(now, versioned(new));
            }
        }
        if let Some(old) = delta.old.as_ref().filter(|old| gives_room(old, delta.new.as_deref())) {
            self.touched.insert(old.node_id.clone());
        }
    }

    fn enqueue(&mut self, task: &Task) {
        if observed(task) != TaskState::Pending as i32 {
            return;
        }
        if !task.node_id.is_empty() {
            self.unchecked.insert(task.node_id.clone());
            let tasks = self.preassigned.entry(task.node_id.clone()).or_default();
            tasks.insert(task.id.clone());
        } else if is_active(task) {
            self.waiting.insert(&task.id, Demand::new(task));
        } else if task.desired_state == TaskState::Shutdown as i32 {
            self.unwanted.insert(task.id.clone());
        }
    }

    fn dequeue(&mut self, delta: &Delta<Task>) {
        for task in delta.old.iter().chain(&delta.new) {
            self.waiting.remove(&task.id);
            self.unwanted.remove(&task.id);
            self.dequeue_preassigned(&task.node_id, &task.id);
        }
    }

    fn dequeue_preassigned(&mut self, node_id: &str, id: &str) {
        if let Some(tasks) = self.preassigned.get_mut(node_id) {
            tasks.remove(id);
            if tasks.is_empty() {
                self.preassigned.remove(node_id);
            }
        }
    }

    fn count(&mut self, task: &Arc<Task>) {
        if !is_placed(task) {
            return;
        }
        if let Some(info) = self.nodes.get_mut(&task.node_id) {
            info.add(task);
        }
        self.counted.insert(task.id.clone(), task.clone());
    }

    fn uncount(&mut self, id: &str) {
        if let Some(counted) = self.counted.remove(id)
            && let Some(info) = self.nodes.get_mut(&counted.node_id)
        {
            info.remove(&counted);
        }
    }
}

/// Whether a node may have room now that it had not before: a task left it, or is to go and no longer counts as one of
/// its service's.
fn gives_room(old: &Task, new: Option<&Task>) -> bool {
    is_placed(old) && new.is_none_or(|new| !is_placed(new) || (is_active(old) && !is_active(new)))
}

/// Whether a task that waits was only told why.
fn is_only_told(delta: &Delta<Task>) -> bool {
    let (Some(old), Some(new)) = (&delta.old, &delta.new) else { return false };
    let is_waiting = |task: &Task| observed(task) == TaskState::Pending as i32 && is_active(task);
    is_waiting(old)
        && is_waiting(new)
        && old.node_id == new.node_id
        && old.spec_version == new.spec_version
        && (&old.endpoint, &old.networks, &old.spec) == (&new.endpoint, &new.networks, &new.spec)
}

fn versioned(task: &Task) -> VersionedService {
    VersionedService {
        service_id: task.service_id.clone(),
        spec_version: task.spec_version.as_ref().map(|version| version.index),
    }
}

/// Whether this change is the one by which the task failed.
fn has_failed(delta: &Delta<Task>) -> bool {
    let failed = |task: &Arc<Task>| {
        [TaskState::Failed as i32, TaskState::Rejected as i32].contains(&observed(task))
    };
    delta.old.as_ref().is_some_and(|old| !failed(old)) && delta.new.as_ref().is_some_and(failed)
}

/// Whether the scheduler had no say in the task's node: then its failures say nothing about other choices.
fn is_preassigned(tables: &Tables, task: &Task) -> bool {
    let mode = tables
        .get::<Service>(&task.service_id)
        .and_then(|service| service.spec.as_ref()?.mode.as_ref());
    matches!(mode, Some(service_spec::Mode::Global(_) | service_spec::Mode::GlobalJob(_)))
}

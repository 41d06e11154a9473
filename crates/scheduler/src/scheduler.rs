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
use crate::neighbours::Neighbours;
use crate::node::{NodeInfo, is_active, is_placed, observed};
use crate::nodes::Nodes;
use crate::waiting::Waiting;

/// The scheduler's state: derived from the tables, but for the failures that it saw.
#[derive(Debug, Default)]
pub struct Scheduler {
    pub(crate) nodes: Nodes,
    pub(crate) waiting: Waiting,
    pub(crate) neighbours: Neighbours,
    /// Tasks that came with a node and wait for its being checked, by node.
    pub(crate) preassigned: BTreeMap<String, BTreeSet<String>>,
    /// Nodes to which such tasks came since the last plan.
    pub(crate) unchecked: BTreeSet<String>,
    /// Tasks that are not wanted any more before they had a node.
    pub(crate) unwanted: BTreeSet<String>,
    /// Nodes that may have room which they had not at the last plan.
    touched: BTreeSet<String>,
    /// Whether what services say of each other changed, so that any node may have room.
    has_new_rules: bool,
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
        let before = std::mem::take(self).nodes;
        for node in tables.iter::<Node>() {
            let failures = before.get(&node.id).map(|info| info.failures.clone());
            self.nodes.insert(node.clone(), failures.unwrap_or_default(), placed(tables, &node.id));
        }
        self.neighbours = Neighbours::new(tables);
        for task in tables.iter::<Task>() {
            self.enqueue(task);
        }
    }

    fn observe(&mut self, now: SystemTime, tables: &Tables, change: &Change) {
        match change {
            Change::Node(delta) => self.observe_node(tables, delta),
            Change::Task(delta) => self.observe_task(now, tables, delta),
            Change::Service(delta) => self.has_new_rules |= self.neighbours.observe(tables, delta),
            _ => {}
        }
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        let mut writes = Vec::new();
        let touched = std::mem::take(&mut self.touched);
        if std::mem::take(&mut self.has_new_rules) {
            self.unchecked.extend(self.preassigned.keys().cloned());
            self.hopeful.extend(self.waiting.hopeful(|_| true));
            self.waiting.doubt_reasons();
        }
        self.end_unwanted(now, tables, &mut writes);
        self.confirm_preassigned(now, tables, &touched, &mut writes);
        if !touched.is_empty() {
            let nodes: Vec<&NodeInfo> =
                touched.iter().filter_map(|id| self.nodes.get(id)).collect();
            self.hopeful.extend(self.waiting.hopeful(|demand| {
                let around = self.neighbours.around(tables, &self.nodes, demand);
                nodes.iter().any(|node| filter::check(demand, &around, node).is_ok())
            }));
            self.waiting.doubt_reasons();
        }
        self.place_groups(now, tables, &mut writes);
        self.tell_reasons(now, tables, &mut writes);
        if writes.iter().any(is_assignment) {
            // Nodes filled up, so that they may refuse others for another reason.
            self.waiting.doubt_reasons();
            self.put_off_reasons(now);
        }
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
    fn observe_node(&mut self, tables: &Tables, delta: &Delta<Node>) {
        let Some(node) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        self.touched.insert(node.id.clone());
        if delta.new.is_none() {
            self.nodes.remove(&node.id);
        } else if !self.nodes.replace(node) {
            self.nodes.insert(node.clone(), Failures::default(), placed(tables, &node.id));
        }
    }

    fn observe_task(&mut self, now: SystemTime, tables: &Tables, delta: &Delta<Task>) {
        let Some(task) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        if is_only_told(delta) && self.waiting.contains(&task.id) {
            return;
        }
        self.recount(delta);
        self.dequeue(delta);
        if let Some(new) = &delta.new {
            self.enqueue(new);
            if has_failed(delta) && !is_preassigned(tables, new) {
                self.nodes.record_failure(&new.node_id, now, versioned(new));
            }
        }
        if let Some(old) = delta.old.as_ref().filter(|old| gives_room(old, delta.new.as_deref())) {
            self.touched.insert(old.node_id.clone());
            // The next of those that keep together may go anywhere.
            self.has_new_rules |= self.neighbours.is_sought(tables, &old.service_id, &self.waiting)
                && self.nodes.with_service(&old.service_id).next().is_none();
        }
        if let Some(new) = delta.new.as_ref().filter(|new| is_company(new))
            && !delta.old.as_ref().is_some_and(|old| is_company(old))
            && self.neighbours.is_sought(tables, &new.service_id, &self.waiting)
        {
            self.touched.insert(new.node_id.clone());
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

    /// Counts a task where it is now. It may be counted there already, where it was this loop that placed it.
    fn recount(&mut self, delta: &Delta<Task>) {
        let now = delta.new.as_ref().filter(|new| is_placed(new));
        if let Some(old) = &delta.old
            && now.is_none_or(|now| now.node_id != old.node_id)
        {
            self.nodes.uncount(old);
        }
        match (now, &delta.new) {
            (Some(now), _) => self.nodes.count(now),
            (None, Some(new)) => self.nodes.uncount(new),
            (None, None) => {}
        }
    }
}

/// The tasks that take up room on a node.
fn placed<'a>(tables: &'a Tables, node_id: &str) -> impl Iterator<Item = &'a Arc<Task>> {
    tables.tasks_by_node(node_id).filter(|task| is_placed(task))
}

/// Whether a node may have room now that it had not before: a task left it, or is to go and no longer counts as one of
/// its service's.
fn gives_room(old: &Task, new: Option<&Task>) -> bool {
    is_placed(old) && new.is_none_or(|new| !is_placed(new) || (is_active(old) && !is_active(new)))
}

/// Whether others can be beside this task.
fn is_company(task: &Task) -> bool {
    is_placed(task) && is_active(task)
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

/// Whether a node has less room after this.
fn is_assignment(write: &Write) -> bool {
    matches!(write, Write::UpdateTask(task) if observed(task) == TaskState::Assigned as i32)
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

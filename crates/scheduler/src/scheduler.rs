//! The control loop: follows nodes and tasks by their changes, and plans an assignment for every task that waits.
//!
//! A task waits while it is PENDING. One that has no node is placed; one that came with a node (a global service's) is
//! only checked against it. What does not fit stays waiting with the reason in `status.err`, and is tried again when
//! a node changes or room is freed. Mirrors SwarmKit's `manager/scheduler/scheduler.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::v1::{Node, Service, Task, TaskState, service_spec};
use swarm_store::{Change, ControlLoop, Delta, Tables, Write};

use crate::decision::{ASSIGNED, CONFIRMED, assign, no_suitable_node, refuse, shut_down};
use crate::demand::Demand;
use crate::failures::{Failures, VersionedService};
use crate::filter;
use crate::node::{NodeInfo, is_active, is_placed, observed, resources};
use crate::spread::Spread;

/// The scheduler's state: derived from the tables, but for the failures that it saw.
#[derive(Debug, Default)]
pub struct Scheduler {
    nodes: BTreeMap<String, NodeInfo>,
    /// The tasks as they are counted on their nodes.
    counted: BTreeMap<String, Arc<Task>>,
    /// Tasks that wait for a node.
    unassigned: BTreeSet<String>,
    /// Tasks that came with a node and wait for its being checked.
    preassigned: BTreeSet<String>,
    /// Whether anything happened since the last plan that could make a waiting task fit.
    stirred: bool,
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
        *self = Self { stirred: true, ..Self::default() };
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
        if !std::mem::take(&mut self.stirred) {
            return Vec::new();
        }
        let mut writes = Vec::new();
        self.confirm_preassigned(now, tables, &mut writes);
        for (demand, group) in self.groups(now, tables, &mut writes) {
            self.place(now, tables, &demand, group, &mut writes);
        }
        writes
    }

    fn wakeup(&self) -> Option<SystemTime> {
        None
    }
}

impl Scheduler {
    fn observe_node(&mut self, delta: &Delta<Node>) {
        self.stirred = true;
        match (&delta.old, &delta.new) {
            (_, None) => {
                if let Some(old) = &delta.old {
                    self.nodes.remove(&old.id);
                }
            }
            (_, Some(new)) => self.replace_node(new),
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
        if let Some(task) = delta.new.as_ref().or(delta.old.as_ref()) {
            self.uncount(&task.id);
            self.unassigned.remove(&task.id);
            self.preassigned.remove(&task.id);
        }
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
        let was_placed = delta.old.as_ref().is_some_and(|task| is_placed(task));
        let is_placed = delta.new.as_ref().is_some_and(|task| is_placed(task));
        self.stirred |= was_placed && !is_placed;
    }

    fn enqueue(&mut self, task: &Task) {
        if observed(task) != TaskState::Pending as i32 {
            return;
        }
        let queue =
            if task.node_id.is_empty() { &mut self.unassigned } else { &mut self.preassigned };
        queue.insert(task.id.clone());
        self.stirred = true;
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

    /// Checks the tasks that came with a node. They go first: a global service's task can run nowhere else.
    fn confirm_preassigned(&mut self, now: SystemTime, tables: &Tables, writes: &mut Vec<Write>) {
        for id in std::mem::take(&mut self.preassigned) {
            let Some(task) = tables.get::<Task>(&id).filter(|task| is_active(task)) else {
                continue;
            };
            let Some(info) = self.nodes.get_mut(&task.node_id) else {
                self.preassigned.insert(id);
                continue;
            };
            let demand = Demand::new(task);
            if filter::check(&demand, info).is_ok() {
                let assigned = Arc::new(assign(now, task, &demand, info, CONFIRMED));
                info.add(&assigned);
                self.counted.insert(id, assigned.clone());
                writes.push(Write::UpdateTask(Box::new(Task::clone(&assigned))));
            } else {
                let reason = filter::explain(&demand, std::iter::once(&*info));
                writes.extend(refuse(now, task, reason));
                self.preassigned.insert(id);
            }
        }
    }

    /// Groups the waiting tasks by demand. A task that is not wanted any more ends here: nobody else would ever say
    /// that it stopped, since no agent has it.
    fn groups(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        writes: &mut Vec<Write>,
    ) -> BTreeMap<Demand, Vec<Arc<Task>>> {
        let mut groups: BTreeMap<Demand, Vec<Arc<Task>>> = BTreeMap::new();
        for id in std::mem::take(&mut self.unassigned) {
            let Some(task) = tables.get::<Task>(&id) else { continue };
            if is_active(task) {
                groups.entry(Demand::new(task)).or_default().push(task.clone());
            } else if task.desired_state == TaskState::Shutdown as i32 {
                writes.push(Write::UpdateTask(Box::new(shut_down(now, task))));
            }
        }
        groups
    }

    /// Places a group; what finds no room goes back to waiting, with the reason.
    fn place(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        demand: &Demand,
        group: Vec<Arc<Task>>,
        writes: &mut Vec<Write>,
    ) {
        let mut spread = Spread::new(now, demand, self.nodes.values_mut());
        let mut waiting = group.into_iter();
        let mut rest = Vec::new();
        while let Some(task) = waiting.next() {
            let placed = spread.place_one(|info| {
                let assigned = assign(now, &task, demand, info, ASSIGNED);
                info.add(&assigned);
                assigned
            });
            let Some(assigned) = placed else {
                rest.push(task);
                rest.extend(waiting);
                break;
            };
            writes.push(Write::UpdateTask(Box::new(assigned.clone())));
            self.counted.insert(task.id.clone(), Arc::new(assigned));
        }
        if !rest.is_empty() {
            let reason = no_suitable_node(&filter::explain(demand, self.nodes.values()));
            writes.extend(rest.iter().filter_map(|task| {
                is_current(tables, task).then(|| refuse(now, task, reason.clone())).flatten()
            }));
            self.unassigned.extend(rest.into_iter().map(|task| task.id.clone()));
        }
    }
}

/// Whether the task is of its service's newest specification: what an update is about to replace needs no reason.
fn is_current(tables: &Tables, task: &Task) -> bool {
    if task.service_id.is_empty() {
        return true;
    }
    let Some(service) = tables.get::<Service>(&task.service_id) else { return false };
    match (&service.spec_version, &task.spec_version) {
        (Some(newest), Some(own)) => newest.index <= own.index,
        _ => true,
    }
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

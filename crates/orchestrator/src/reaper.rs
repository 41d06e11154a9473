//! The reaper: deletes tasks that are only history.
//!
//! Three kinds: tasks that are to be removed and have stopped (or never were on a node), in each slot the oldest dead
//! tasks beyond the history limit, and on each node that is labelled so the oldest beyond its own limit. What a job's newest iteration has completed, or given up, is its outcome and stays;
//! SwarmKit keeps all of all iterations. Mirrors SwarmKit's `manager/orchestrator/taskreaper`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::v1::{Cluster, Node, Service, Task, TaskState};
use swarm_store::{Change, ControlLoop, Tables, Write};

use crate::defaults::{TASK_HISTORY_LIMIT, restart_policy};
use crate::jobs;
use crate::options::node_history::limit as limit_of;
use crate::plan::first;
use crate::slot::SlotKey;
use crate::task::{is_dead, observed, status_time};

/// Tasks and slots that one plan looks at: some milliseconds.
const LOOKS_MAX: usize = 1000;
/// Nodes with a limit of their own, each of which takes a look at all of its tasks.
const NODES_MAX: usize = 100;

/// The reaper's state: where tasks came, went or died since it last looked.
#[derive(Debug, Default)]
pub struct Reaper {
    slots: BTreeSet<SlotKey>,
    nodes: BTreeSet<String>,
    tasks: BTreeSet<String>,
    is_behind: bool,
}

impl ControlLoop for Reaper {
    fn name(&self) -> &'static str {
        "task reaper"
    }

    fn resync(&mut self, _now: SystemTime, tables: &Tables) {
        *self = Self::default();
        // Where nothing died, nothing is too many.
        for task in tables.iter::<Task>().filter(|task| is_history(task)) {
            self.note(tables, task);
        }
    }

    fn observe(&mut self, _now: SystemTime, tables: &Tables, change: &Change) {
        match change {
            Change::Task(delta) => {
                if let Some(task) = &delta.new {
                    self.note(tables, task);
                }
            }
            // A lower limit takes effect at once.
            Change::Cluster(delta) => {
                let limit = |cluster: &Option<Arc<Cluster>>| {
                    cluster.as_ref().and_then(|cluster| retention(cluster))
                };
                if limit(&delta.old) != limit(&delta.new) {
                    tables.iter::<Task>().for_each(|task| self.note(tables, task));
                }
            }
            Change::Node(delta) => {
                let limit =
                    |node: &Option<Arc<Node>>| node.as_ref().and_then(|node| limit_of(node));
                if let Some(node) =
                    delta.new.as_ref().filter(|_| limit(&delta.old) != limit(&delta.new))
                {
                    self.nodes.insert(node.id.clone());
                }
            }
            _ => {}
        }
    }

    fn plan(&mut self, _now: SystemTime, tables: &Tables) -> Vec<Write> {
        let mut deletable: BTreeSet<String> = first(&mut self.tasks, LOOKS_MAX);
        deletable.retain(|id| tables.get::<Task>(id).is_some_and(|task| is_removable(task)));
        for slot in first(&mut self.slots, LOOKS_MAX) {
            deletable.extend(excess(tables, &slot));
        }
        for node in first(&mut self.nodes, NODES_MAX) {
            deletable.extend(excess_of_node(tables, &node, &deletable));
        }
        self.is_behind = !self.tasks.is_empty() || !self.slots.is_empty() || !self.nodes.is_empty();
        deletable.into_iter().map(Write::DeleteTask).collect()
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn wakeup(&self) -> Option<SystemTime> {
        None
    }
}

impl Reaper {
    fn note(&mut self, tables: &Tables, task: &Task) {
        if is_removable(task) {
            self.tasks.insert(task.id.clone());
        } else if !task.service_id.is_empty() {
            self.slots.insert(SlotKey::find(tables, task));
            let node = tables.get::<Node>(&task.node_id);
            if is_dead(task) && node.is_some_and(|node| limit_of(node).is_some()) {
                self.nodes.insert(task.node_id.clone());
            }
        }
    }
}

/// Whether nothing needs a task any more: it is to be removed and runs nowhere, or was left behind without a service.
fn is_removable(task: &Task) -> bool {
    let state = observed(task);
    let idle = state < TaskState::Assigned as i32 || state >= TaskState::Complete as i32;
    (task.desired_state == TaskState::Remove as i32 && idle)
        || (task.service_id.is_empty() && state >= TaskState::Orphaned as i32)
}

/// The oldest dead tasks of a slot, as many as are too many.
fn excess(tables: &Tables, slot: &SlotKey) -> Vec<String> {
    let Some(service) = tables.get::<Service>(&slot.service_id) else { return Vec::new() };
    let Some(limit) = limit(tables, service) else { return Vec::new() };
    let mut tasks = slot.tasks(tables);
    let count = tasks.len().saturating_sub(limit);
    if count == 0 {
        return Vec::new();
    }
    tasks.sort_by_key(|task| status_time(task));
    let newest = tasks.last().map(|task| task.id.clone());
    let is_record = |task: &Task| {
        jobs::is_of_iteration(task, service)
            && (jobs::is_complete(task) || newest.as_ref() == Some(&task.id))
    };
    let history = tasks.iter().filter(|task| is_history(task) && !is_record(task));
    history.take(count).map(|task| task.id.clone()).collect()
}

/// The oldest dead tasks of a node beyond its limit, of those that are not `gone` already. The newest of a slot says what
/// became of it, and stays; so do those from which the restarts of a limited policy are counted.
fn excess_of_node(tables: &Tables, id: &str, gone: &BTreeSet<String>) -> Vec<String> {
    let Some(limit) = tables.get::<Node>(id).and_then(|node| limit_of(node)) else {
        return Vec::new();
    };
    let is_dead = |task: &&Arc<Task>| is_dead(task) && !gone.contains(&task.id);
    let mut dead: Vec<_> = tables.tasks_by_node(id).filter(is_dead).collect();
    let mut count = dead.len().saturating_sub(limit);
    dead.sort_by_key(|task| status_time(task));
    let mut excess = Vec::new();
    for task in dead {
        if count == 0 {
            break;
        }
        if is_mere_history(tables, task) {
            excess.push(task.id.clone());
            count -= 1;
        }
    }
    excess
}

/// Whether nothing is decided by a dead task any more.
fn is_mere_history(tables: &Tables, task: &Task) -> bool {
    let Some(service) = tables.get::<Service>(&task.service_id) else { return false };
    let is_outcome = jobs::is_of_iteration(task, service) && jobs::is_complete(task);
    let is_counted = restart_policy(task).is_some_and(|policy| policy.max_attempts > 0);
    let has_newer = || {
        let slot = SlotKey::of(service, task).tasks(tables);
        slot.iter().any(|other| status_time(other) > status_time(task))
    };
    !is_outcome && !is_counted && has_newer()
}

/// How many tasks a slot may keep; none means all of them.
fn limit(tables: &Tables, service: &Service) -> Option<usize> {
    let restart = service.spec.as_ref().and_then(|spec| spec.task.as_ref()?.restart.as_ref());
    // The restarts of a limited policy are counted from the tasks after a change of leader.
    let attempts = restart.map_or(0, |restart| restart.max_attempts);
    if attempts > 0 {
        return Some(usize::try_from(attempts).unwrap_or(usize::MAX).saturating_add(1));
    }
    let limit =
        tables.cluster().and_then(|cluster| retention(cluster)).unwrap_or(TASK_HISTORY_LIMIT);
    usize::try_from(limit).ok()
}

fn retention(cluster: &Cluster) -> Option<i64> {
    Some(cluster.spec.as_ref()?.orchestration.as_ref()?.task_history_retention_limit)
}

/// Whether a task is over: it ended, or never ran and never will.
fn is_history(task: &Task) -> bool {
    is_dead(task)
        || (observed(task) < TaskState::Assigned as i32
            && task.desired_state > TaskState::Complete as i32)
}

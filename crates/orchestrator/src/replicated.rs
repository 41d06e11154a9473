//! Replicated services: as many slots as replicas, each with a task that is to run.
//!
//! Mirrors SwarmKit's `manager/orchestrator/replicated`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use swarm_proto::v1::{Node, Service, Task, TaskState};
use swarm_store::PORTION;

use crate::hold;
use crate::moves;
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::observed;
use crate::update::Updates;

type Slot = Vec<Arc<Task>>;

/// New tasks that one plan holds of a service: what the loops after it do with them goes into the same log entry.
const NEW_MAX: usize = PORTION;

/// Creates what is missing, updates what stays, removes what is too many; returns the slots that are to be
/// [filled](fill) yet.
pub(crate) fn reconcile(
    plan: &mut Plan,
    restarts: &mut Restarts,
    updates: &mut Updates,
    service: &Service,
    replicas: u64,
) -> VecDeque<u64> {
    let (mut running, dead) = slots(plan, restarts, service);
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    let missing = wanted.saturating_sub(running.len());
    let taken: Vec<u64> = running.keys().copied().collect();
    let fresh = free_numbers(&taken, missing);

    // What is left of slots that are not filled again goes; the reaper deletes it once it has stopped.
    for tasks in dead
        .iter()
        .filter(|(number, _)| fresh.binary_search(number).is_err())
        .map(|(_, tasks)| tasks)
    {
        remove(plan, tasks);
    }
    if wanted < running.len() {
        let mut order = by_worth(plan, service, std::mem::take(&mut running));
        // With all that came before them.
        let surplus = order.split_off(wanted);
        for slot in
            surplus.iter().filter_map(|tasks| tasks.first()).map(|task| SlotKey::of(service, task))
        {
            let tasks = slot.tasks(&plan.tables);
            remove(plan, &tasks);
        }
        updates.start(plan, restarts, service, &order);
        return VecDeque::new();
    }
    let current: Vec<Slot> = running.into_values().collect();
    updates.start(plan, restarts, service, &current);
    let mut fresh = fresh.into();
    fill(plan, restarts, service, &mut fresh);
    fresh
}

/// Creates the tasks of the next of these slots, which are empty: a portion of them.
pub(crate) fn fill(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    slots: &mut VecDeque<u64>,
) {
    for number in slots.drain(..slots.len().min(NEW_MAX)) {
        let slot = SlotKey { service_id: service.id.clone(), number, node_id: String::new() };
        let task = restarts.new_task(plan, service, &slot);
        plan.create_task(task);
    }
}

/// The service's slots by number: those that count as filled, and those that are only history.
fn slots(
    plan: &Plan,
    restarts: &Restarts,
    service: &Service,
) -> (BTreeMap<u64, Slot>, BTreeMap<u64, Slot>) {
    let mut all: BTreeMap<u64, Slot> = BTreeMap::new();
    for task in plan.tables.tasks_by_service(&service.id) {
        all.entry(task.slot).or_default().push(task.clone());
    }
    let (mut running, mut dead) = (BTreeMap::new(), BTreeMap::new());
    for (number, tasks) in all {
        let updatable = restarts.updatable(&tasks, service);
        if updatable.is_empty() {
            dead.insert(number, tasks);
        } else {
            running.insert(number, updatable);
        }
    }
    (running, dead)
}

/// The lowest slot numbers that are not `taken` (ascending), from 1.
fn free_numbers(taken: &[u64], count: usize) -> Vec<u64> {
    (1..).filter(|number| taken.binary_search(number).is_err()).take(count).collect()
}

fn remove(plan: &mut Plan, tasks: &[Arc<Task>]) {
    for task in tasks {
        plan.desire(&task.id, TaskState::Remove);
    }
}

/// Orders slots so that the first are the best to keep: the first copies on each node before the second ones, so that
/// what is kept is balanced; among equals those that run, then the lowest numbers. What a drained node still has goes
/// before all that, and before it what may not run any more, as its node is down.
fn by_worth(plan: &Plan, service: &Service, slots: BTreeMap<u64, Slot>) -> Vec<Slot> {
    let mut slots: Vec<Slot> = slots.into_values().collect();
    slots.sort_by_key(|slot| !slot.iter().any(|task| observed(task) == TaskState::Running as i32));
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    let is_leaving = |task: &Arc<Task>| {
        let node = plan.tables.get::<Node>(&task.node_id);
        node.is_some_and(|node| moves::keeps(&plan.tables, node, task))
    };
    let mut rank = |slot: &Slot| match slot.iter().any(is_leaving) {
        true => usize::MAX,
        false => copy_on_node(&mut copies, slot),
    };
    let mut ranked: Vec<(usize, Slot)> =
        slots.into_iter().map(|slot| (rank(&slot), slot)).collect();
    let is_held = |task: &Arc<Task>| hold::until(plan.now, &plan.tables, service, task).is_some();
    ranked.sort_by_key(|(copy, slot)| (slot.iter().all(is_held), *copy));
    ranked.into_iter().map(|(_, slot)| slot).collect()
}

/// Which copy of the service on its node a slot is. One without a node, or in the middle of an update, goes first.
fn copy_on_node(copies: &mut BTreeMap<String, usize>, slot: &[Arc<Task>]) -> usize {
    match slot {
        [task] if !task.node_id.is_empty() => {
            let copy = copies.entry(task.node_id.clone()).or_default();
            *copy += 1;
            *copy
        }
        _ => usize::MAX,
    }
}

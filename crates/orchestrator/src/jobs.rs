//! Jobs: tasks that are run to completion, so many of them in all (replicated) or one per node (global).
//!
//! Slots of jobs are numbered from 0: the CLI counts them so, and waits for ever for one that it does not find. A job may be run again, as another iteration; only tasks of the newest one count. Each slot of a replicated job
//! completes once. A slot whose task failed for good under its restart policy is given up, not filled again. Mirrors SwarmKit's `manager/orchestrator/jobs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{
    Node, NodeStatus, ReplicatedJob, Service, Task, TaskState, Version, node_status,
};
use swarm_store::{PORTION, Tables};

use crate::dirty::{placement, suits};
use crate::options::cron::{Concurrency, concurrency};
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{availability, is_dead, is_invalid, mode, observed, status_time};

/// New tasks that one plan holds of a job, as of a replicated service.
const NEW_MAX: usize = 4 * PORTION;

/// Starts as many tasks as may run at a time, until all completions are reached or under way; whether that is all.
pub(crate) fn reconcile_replicated(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    job: &ReplicatedJob,
) -> bool {
    let taken = taken_slots(plan, restarts, service);
    if awaits_first(service) {
        return true;
    }
    let running = taken.values().filter(|running| **running).count() as u64;
    let allowed = job.total_completions.saturating_sub(taken.len() as u64);
    let count = job.max_concurrent.saturating_sub(running).min(allowed);
    let numbers: BTreeSet<_> = taken.keys().map(|slot| slot.number).collect();
    let free = (0..).filter(|number| !numbers.contains(number));
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    for number in free.take(count.min(NEW_MAX)) {
        add(plan, restarts, service, number, String::new());
    }
    count <= NEW_MAX
}

/// Starts a task on every fit node that has none of this iteration.
pub(crate) fn reconcile_global(plan: &mut Plan, restarts: &mut Restarts, service: &Service) {
    let taken = taken_slots(plan, restarts, service);
    if awaits_first(service) {
        return;
    }
    let fit = |node: &&Arc<Node>| {
        suits(placement(service), node)
            && availability(node) == Availability::Active
            && node.status.as_ref().map(NodeStatus::state) == Some(node_status::State::Ready)
    };
    let nodes: Vec<_> =
        plan.tables.iter::<Node>().filter(fit).map(|node| node.id.clone()).collect();
    for node in nodes.into_iter().filter(|node| !taken.keys().any(|slot| slot.node_id == **node)) {
        add(plan, restarts, service, 0, node);
    }
}

/// Replaces a task that failed or lost its node. A global job's task that lost its node only ends.
pub(crate) fn restart(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    task: &Arc<Task>,
) {
    let is_global = matches!(mode(service), Some(Mode::GlobalJob(_)));
    let invalid = plan.tables.get::<Node>(&task.node_id).is_none_or(|node| is_invalid(node));
    if is_global && invalid {
        plan.desire(&task.id, TaskState::Shutdown);
    } else {
        restarts.restart(plan, service, task);
    }
}

/// The slots that need no new task, and whether something is still to run in each.
fn taken_slots(plan: &mut Plan, restarts: &Restarts, service: &Service) -> BTreeMap<SlotKey, bool> {
    let mut slots: BTreeMap<SlotKey, Vec<Arc<Task>>> = BTreeMap::new();
    for task in current_tasks(plan, service) {
        slots.entry(SlotKey::of(service, &task)).or_default().push(task);
    }
    let taken = slots.into_iter().filter_map(|(slot, tasks)| {
        if tasks.iter().any(|task| is_complete(task)) {
            return Some((slot, false));
        }
        if tasks.iter().any(|task| task.desired_state <= TaskState::Complete as i32) {
            return Some((slot, true));
        }
        let newest = tasks.iter().max_by_key(|task| status_time(task))?;
        (!restarts.should_restart(newest, service)).then_some((slot, false))
    });
    taken.collect()
}

/// The tasks of the newest iteration; those of older ones that still run are removed on the way, unless the job's
/// schedule lets them go on.
fn current_tasks(plan: &mut Plan, service: &Service) -> Vec<Arc<Task>> {
    let tasks: Vec<_> = plan.tables.tasks_by_service(&service.id).cloned().collect();
    let newest = iteration(service);
    let (current, old): (Vec<_>, Vec<_>) =
        tasks.into_iter().partition(|task| task.job_iteration == Some(newest));
    if concurrency(service.spec.as_ref()) == Some(Concurrency::Allow) {
        return current;
    }
    for task in old.iter().filter(|task| observed(task) <= TaskState::Running as i32) {
        plan.desire(&task.id, TaskState::Remove);
    }
    current
}

/// Whether nothing of a job is to run any more, and of its newest iteration nothing is to be started.
pub(crate) fn is_over(tables: &Tables, service: &Service) -> bool {
    let lives = |task: &Task| task.desired_state <= TaskState::Complete as i32 && !is_dead(task);
    let mut slots = BTreeSet::new();
    for task in tables.tasks_by_service(&service.id) {
        if lives(task) {
            return false;
        }
        if is_of_iteration(task, service) {
            slots.insert(task.slot);
        }
    }
    match mode(service) {
        Some(Mode::ReplicatedJob(job)) => {
            awaits_first(service) || slots.len() as u64 >= job.total_completions
        }
        _ => true,
    }
}

/// Whether a job waits for the first tick of its schedule.
fn awaits_first(service: &Service) -> bool {
    let status = service.job_status.as_ref().and_then(|status| status.cron.as_ref());
    status.is_some_and(|status| status.awaits_first)
}

/// The iteration that a job is in; the control service counts it up.
fn iteration(service: &Service) -> Version {
    let status = service.job_status.as_ref();
    status.and_then(|status| status.job_iteration).unwrap_or_default()
}

/// Whether a task belongs to the newest iteration of a job.
pub(crate) fn is_of_iteration(task: &Task, service: &Service) -> bool {
    task.job_iteration.is_some() && task.job_iteration == Some(iteration(service))
}

pub(crate) fn is_complete(task: &Task) -> bool {
    observed(task) == TaskState::Complete as i32
}

fn add(plan: &mut Plan, restarts: &mut Restarts, service: &Service, number: u64, node_id: String) {
    let slot = SlotKey { service_id: service.id.clone(), number, node_id };
    let task = Task {
        desired_state: TaskState::Complete as i32,
        job_iteration: Some(iteration(service)),
        ..restarts.new_task(plan, service, &slot)
    };
    plan.create_task(task);
}

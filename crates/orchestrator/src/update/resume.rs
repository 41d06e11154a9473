//! What an update takes over: from the one that it supersedes, or from itself as an earlier leader had it.
//!
//! So no more slots are without a running task than may be, and failures go on being watched for. SwarmKit's update
//! forgets both, and is complete at once if its last task was made before the change of leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Service, Task, TaskState, UpdateStatus};

use super::rollout::{Inherited, Rollout};
use super::tally::has_failed;
use super::worker::is_slot_dirty;
use crate::defaults::{monitor, update_config};
use crate::plan::Plan;
use crate::slot::SlotKey;
use crate::task::{is_runnable, observed};

/// The slots that another update had begun, and that need no more than to come up for this one.
pub(super) fn superseded(plan: &Plan, service: &Service, superseded: &Rollout) -> Inherited {
    let in_flight = superseded.in_flight().filter(|(slot, task)| {
        plan.tables.get::<Task>(task).is_some_and(|task| is_coming_up(task))
            && is_clean(plan, service, slot)
    });
    Inherited { in_flight: in_flight.collect(), ..Inherited::default() }
}

/// What this update has made so far, in each slot the first task: what came after that replaced one that failed.
pub(super) fn after_leader_change(plan: &Plan, service: &Service) -> Inherited {
    let status = service.update_status.as_ref();
    let Some(begun_at) = status.and_then(|status| status.started_at.as_ref()) else {
        return Inherited::default();
    };
    let begun_at = to_system_time(begun_at);
    let mut first: BTreeMap<SlotKey, &Arc<Task>> = BTreeMap::new();
    let is_made = |task: &&Arc<Task>| {
        task.spec_version == service.spec_version && created_at(task) >= begun_at
    };
    for task in plan.tables.tasks_by_service(&service.id).filter(is_made) {
        let earliest = first.entry(SlotKey::of(service, task)).or_insert(task);
        if created_at(task) < created_at(earliest) {
            *earliest = task;
        }
    }
    let rollback = status.map(UpdateStatus::state) == Some(UpdateState::RollbackStarted);
    let period = monitor(&update_config(service, rollback));
    let mut inherited = Inherited { slots: first.len(), ..Inherited::default() };
    for task in first.into_values() {
        // The clock of the leader that saw it may have been ahead of this one's.
        let up_at = up_at(task).map(|at| at.min(plan.now));
        if is_watched(plan.now, task, up_at, period) {
            inherited.made.insert(task.id.clone(), up_at);
        }
    }
    let tasks = plan.tables.tasks_by_service(&service.id);
    let slots = tasks.filter(|task| is_placed(task)).map(|task| (SlotKey::of(service, task), task));
    inherited.in_flight = slots
        .filter(|(slot, task)| is_coming_up(task) && is_clean(plan, service, slot))
        .map(|(slot, task)| (slot, task.id.clone()))
        .collect();
    inherited
}

/// Whether a task replaces another or has found a place: one that was merely added to the others, and waits for a place,
/// may wait for ever.
fn is_placed(task: &Task) -> bool {
    task.desired_state == TaskState::Ready as i32 || observed(task) >= TaskState::Assigned as i32
}

/// Whether a task's failure would count, or does. When one that failed had come up is not known: it counts if it failed
/// within the period after it was made.
fn is_watched(now: SystemTime, task: &Task, up_at: Option<SystemTime>, period: Duration) -> bool {
    let since = |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap_or_default();
    if has_failed(task) {
        return since(created_at(task), status_at(task)) <= period;
    }
    observed(task) <= TaskState::Running as i32 && up_at.is_none_or(|at| since(at, now) <= period)
}

fn is_coming_up(task: &Task) -> bool {
    is_runnable(task) && observed(task) < TaskState::Running as i32
}

fn is_clean(plan: &Plan, service: &Service, slot: &SlotKey) -> bool {
    let tasks: Vec<_> =
        slot.tasks(&plan.tables).into_iter().filter(|task| is_runnable(task)).collect();
    !is_slot_dirty(&plan.tables, service, &tasks)
}

/// When a task that runs came up.
fn up_at(task: &Task) -> Option<SystemTime> {
    (observed(task) == TaskState::Running as i32).then(|| status_at(task))
}

fn status_at(task: &Task) -> SystemTime {
    let status = task.status.as_ref();
    let at = status.and_then(|status| status.applied_at.as_ref().or(status.timestamp.as_ref()));
    at.map_or(SystemTime::UNIX_EPOCH, to_system_time)
}

fn created_at(task: &Task) -> SystemTime {
    let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
    created.map_or(SystemTime::UNIX_EPOCH, to_system_time)
}

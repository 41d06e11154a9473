//! Slots in which a task that was taken for lost is back beside its replacement, of services that prefer the original
//! (`swarm.return=original`).
//!
//! ```text
//!  node back ──► both run ──(the original has been up for SETTLING)──► the replacement stops
//!                    └──(either ends, or loses its node)─────────────► the other stays, nothing is started
//! ```
//!
//! A node that is back may have lost its containers with its power: what stands in for them goes only when the node
//! has had the time to tell. Nothing of this is remembered but in the tasks: a slot with several tasks that are to run,
//! all of the right specification, is such a slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Node, Service, Task, TaskState};
use swarm_store::Tables;

use crate::moves::Pair;
use crate::options::loss::{Return, reaction};
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{is_invalid, is_runnable, mode, observed};

/// How long a node that is back has for telling which of its tasks are no more.
pub(crate) const SETTLING: Duration = Duration::from_secs(5);

/// Whether a service prefers the tasks that were there before to their replacements.
pub(crate) fn prefers_original(service: &Service) -> bool {
    matches!(mode(service), Some(Mode::Replicated(_)))
        && reaction(service.spec.as_ref()) == Return::Original
}

/// The other tasks that are to run in a task's slot, where a service may have several for a while.
pub(crate) fn others(tables: &Tables, service: &Service, task: &Task) -> Vec<Arc<Task>> {
    if !prefers_original(service) {
        return Vec::new();
    }
    let mut tasks = SlotKey::of(service, task).tasks(tables);
    // A move has two tasks in a slot, too, and its own way to end.
    if Pair::among(&tasks).is_some() {
        return Vec::new();
    }
    tasks.retain(|other| other.id != task.id && is_runnable(other));
    tasks
}

/// The tasks of a service that run beside their replacements; for a leader that was not there when they came back.
pub(crate) fn originals(tables: &Tables, service: &Service) -> Vec<String> {
    if !prefers_original(service) {
        return Vec::new();
    }
    let mut slots: BTreeMap<u64, Vec<&Arc<Task>>> = BTreeMap::new();
    for task in tables.tasks_by_service(&service.id).filter(|task| is_runnable(task)) {
        slots.entry(task.slot).or_default().push(task);
    }
    let doubled = slots
        .into_values()
        .filter(|tasks| tasks.len() > 1 && Pair::among(tasks.iter().copied()).is_none());
    let oldest = doubled.filter_map(|tasks| tasks.into_iter().min_by_key(|task| made_at(task)));
    oldest.map(|task| task.id.clone()).collect()
}

/// Stops what stands in for a task that is back and has stayed up.
pub(crate) fn settle(plan: &mut Plan, restarts: &mut Restarts, id: &str) {
    let Some(task) = plan.tables.get::<Task>(id).cloned() else { return };
    let Some(service) = plan.tables.get::<Service>(&task.service_id).cloned() else { return };
    let has_node = plan.tables.get::<Node>(&task.node_id).is_some_and(|node| !is_invalid(node));
    if !is_runnable(&task) || observed(&task) != TaskState::Running as i32 || !has_node {
        return;
    }
    for other in others(&plan.tables, &service, &task) {
        if made_at(&other) >= made_at(&task) {
            restarts.forget(&other.id);
            plan.desire(&other.id, TaskState::Shutdown);
        }
    }
}

/// When a task was made.
pub(crate) fn made_at(task: &Task) -> SystemTime {
    let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
    created.map_or(SystemTime::UNIX_EPOCH, to_system_time)
}

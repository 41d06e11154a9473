//! How many tasks services want and have, so that a client need not list them all to know.

use std::collections::HashMap;

use swarm_proto::v1::list_service_statuses_response::ServiceStatus;
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{
    ListServiceStatusesRequest, ListServiceStatusesResponse, Node, Service, Task, TaskState,
    TaskStatus,
};
use swarm_store::Tables;

use super::Control;
use crate::failure::Failure;

pub(super) fn list(
    control: &Control,
    request: ListServiceStatusesRequest,
) -> Result<ListServiceStatusesResponse, Failure> {
    let tables = control.store.view();
    let statuses = request.services.into_iter().map(|id| status(&tables, id)).collect();
    Ok(ListServiceStatusesResponse { statuses })
}

/// The counts of one service; a removed one may have tasks yet and wants none.
fn status(tables: &Tables, service_id: String) -> ServiceStatus {
    let service = tables.get::<Service>(&service_id);
    let mode = service.and_then(|service| service.spec.as_ref()?.mode.as_ref());
    let job = service.and_then(|service| service.job_status.as_ref());
    let iteration = job.map(|job| job.job_iteration.unwrap_or_default().index);
    let global = matches!(mode, Some(Mode::Global(_) | Mode::GlobalJob(_)));
    let mut counts = ServiceStatus { desired_tasks: desired(mode), ..ServiceStatus::default() };
    let mut nodes = HashMap::new();
    for task in tables.tasks_by_service(&service_id) {
        if iteration.is_none_or(|iteration| is_of_iteration(task, iteration)) {
            let running = is_reported_running(task)
                && *nodes.entry(task.node_id.as_str()).or_insert_with(|| is_up(tables, task));
            count(task, running, global, iteration.is_some(), &mut counts);
        }
    }
    counts.service_id = service_id;
    counts
}

/// What the spec says; of a global service the tasks tell.
fn desired(mode: Option<&Mode>) -> u64 {
    match mode {
        Some(Mode::Replicated(mode)) => mode.replicas,
        Some(Mode::ReplicatedJob(mode)) => mode.max_concurrent,
        _ => 0,
    }
}

fn is_of_iteration(task: &Task, iteration: u64) -> bool {
    task.job_iteration.as_ref().is_some_and(|of| of.index == iteration)
}

fn is_reported_running(task: &Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.state() == TaskState::Running)
}

/// Whether a task's node may be believed. What was last heard from one that is down, or no longer there, is no
/// knowledge: SwarmKit counts such tasks and shows more replicas than there are.
fn is_up(tables: &Tables, task: &Task) -> bool {
    let node = tables.get::<Node>(&task.node_id).and_then(|node| node.status.as_ref());
    node.is_some_and(|status| status.state() != State::Down)
}

fn count(task: &Task, running: bool, global: bool, job: bool, counts: &mut ServiceStatus) {
    let state = task.status.as_ref().map_or(TaskState::New, TaskStatus::state);
    counts.running_tasks += u64::from(running);
    counts.completed_tasks += u64::from(job && state == TaskState::Complete);
    if global {
        let unfinished = state != TaskState::Complete;
        counts.desired_tasks += u64::from(match task.desired_state() {
            TaskState::Running => true,
            TaskState::Complete => unfinished,
            _ => false,
        });
    }
}

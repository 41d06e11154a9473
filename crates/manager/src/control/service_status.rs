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

/// Of so many services in all, one must be asked for at least, so that reading all tasks in their order is less work
/// than finding those of each service.
const SERVICES_PER_ASKED_MAX: usize = 8;

pub(super) fn list(
    control: &Control,
    request: ListServiceStatusesRequest,
) -> Result<ListServiceStatusesResponse, Failure> {
    Ok(ListServiceStatusesResponse { statuses: statuses(&control.store.view(), request.services) })
}

/// The counts of each of these services; a removed one may have tasks yet and wants none.
fn statuses(tables: &Tables, services: Vec<String>) -> Vec<ServiceStatus> {
    let mut counts: HashMap<&str, Counts> =
        services.iter().map(|id| (id.as_str(), Counts::new(tables, id))).collect();
    let mut witnesses = Witnesses { tables, are_up: HashMap::new() };
    if counts.len().saturating_mul(SERVICES_PER_ASKED_MAX) >= tables.len::<Service>() {
        for task in tables.iter::<Task>() {
            if let Some(counts) = counts.get_mut(task.service_id.as_str()) {
                counts.add(task, &mut witnesses);
            }
        }
    } else {
        for (id, counts) in &mut counts {
            tables.tasks_by_service(id).for_each(|task| counts.add(task, &mut witnesses));
        }
    }
    let status = |service_id: &String| ServiceStatus {
        service_id: service_id.clone(),
        ..counts.get(service_id.as_str()).map(|counts| counts.status.clone()).unwrap_or_default()
    };
    services.iter().map(status).collect()
}

/// The counts of one service, as far as they are.
struct Counts {
    /// Of a job: the iteration whose tasks count.
    iteration: Option<u64>,
    is_global: bool,
    status: ServiceStatus,
}

impl Counts {
    fn new(tables: &Tables, service_id: &str) -> Self {
        let service = tables.get::<Service>(service_id);
        let mode = service.and_then(|service| service.spec.as_ref()?.mode.as_ref());
        let job = service.and_then(|service| service.job_status.as_ref());
        Self {
            iteration: job.map(|job| job.job_iteration.unwrap_or_default().index),
            is_global: matches!(mode, Some(Mode::Global(_) | Mode::GlobalJob(_))),
            status: ServiceStatus { desired_tasks: desired(mode), ..ServiceStatus::default() },
        }
    }

    fn add<'t>(&mut self, task: &'t Task, witnesses: &mut Witnesses<'t>) {
        if self.iteration.is_some_and(|iteration| !is_of_iteration(task, iteration)) {
            return;
        }
        let running = is_reported_running(task) && witnesses.believe(task);
        let state = task.status.as_ref().map_or(TaskState::New, TaskStatus::state);
        let is_complete = state == TaskState::Complete;
        self.status.running_tasks += u64::from(running);
        self.status.completed_tasks += u64::from(self.iteration.is_some() && is_complete);
        if self.is_global {
            self.status.desired_tasks += u64::from(match task.desired_state() {
                TaskState::Running => true,
                TaskState::Complete => !is_complete,
                _ => false,
            });
        }
    }
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

/// The nodes that tell how their tasks are.
struct Witnesses<'t> {
    tables: &'t Tables,
    are_up: HashMap<&'t str, bool>,
}

impl<'t> Witnesses<'t> {
    /// Whether a task's node may be believed. What was last heard from one that is down, or no longer there, is no
    /// knowledge: SwarmKit counts such tasks and shows more replicas than there are.
    fn believe(&mut self, task: &'t Task) -> bool {
        *self.are_up.entry(&task.node_id).or_insert_with(|| {
            let node = self.tables.get::<Node>(&task.node_id).and_then(|node| node.status.as_ref());
            node.is_some_and(|status| status.state() != State::Down)
        })
    }
}

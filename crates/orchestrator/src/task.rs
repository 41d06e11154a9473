//! Questions about single tasks and nodes, and the making of a task.

use std::time::SystemTime;

use swarm_proto::timestamp::{from_system_time, to_system_time};
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{
    Cluster, Driver, Endpoint, Node, Service, ServiceSpec, Task, TaskState, TaskStatus, node_status,
};

use crate::slot::SlotKey;

/// The observed state.
pub(crate) fn observed(task: &Task) -> i32 {
    task.status.as_ref().map_or(TaskState::New as i32, |status| status.state)
}

/// Whether a task is to run, now or after a delay.
pub(crate) fn is_runnable(task: &Task) -> bool {
    task.desired_state <= TaskState::Running as i32
}

/// Whether a task ended, however that came.
pub(crate) fn is_dead(task: &Task) -> bool {
    observed(task) > TaskState::Running as i32
}

/// Whether nothing of a task runs any more, or ever will.
pub(crate) fn is_stopped(task: &Task) -> bool {
    is_dead(task)
        || (observed(task) < TaskState::Assigned as i32
            && task.desired_state > TaskState::Complete as i32)
}

/// Whether a node cannot keep its tasks: it is down or drained.
pub(crate) fn is_invalid(node: &Node) -> bool {
    is_down(node) || availability(node) == Availability::Drain
}

pub(crate) fn is_down(node: &Node) -> bool {
    node.status.as_ref().is_some_and(|status| status.state == node_status::State::Down as i32)
}

pub(crate) fn availability(node: &Node) -> Availability {
    node.spec.as_ref().map_or(Availability::Active, |spec| spec.availability())
}

/// The mode of a service.
pub(crate) fn mode(service: &Service) -> Option<&Mode> {
    service.spec.as_ref()?.mode.as_ref()
}

/// When a task's status came about; the manager's time before the agent's, whose clock may be off.
pub(crate) fn status_time(task: &Task) -> (i64, i32) {
    let status = task.status.as_ref();
    let time = status.and_then(|status| status.applied_at.as_ref().or(status.timestamp.as_ref()));
    time.map_or((i64::MIN, 0), |time| (time.seconds, time.nanos))
}

/// When a task's status came about, if that is known.
pub(crate) fn ended_at(task: &Task) -> Option<SystemTime> {
    let status = task.status.as_ref()?;
    status.applied_at.as_ref().or(status.timestamp.as_ref()).map(to_system_time)
}

pub(crate) fn created_at(task: &Task) -> SystemTime {
    let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
    created.map_or(SystemTime::UNIX_EPOCH, to_system_time)
}

/// A new task of `service` for `slot`, wanted to run.
pub(crate) fn new_task(
    id: String,
    now: SystemTime,
    cluster: Option<&Cluster>,
    service: &Service,
    slot: &SlotKey,
) -> Task {
    let default = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&default);
    Task {
        id,
        service_id: service.id.clone(),
        slot: slot.number,
        node_id: slot.node_id.clone(),
        spec: spec.task.clone(),
        spec_version: service.spec_version,
        service_annotations: spec.annotations.clone(),
        status: Some(TaskStatus {
            state: TaskState::New as i32,
            timestamp: Some(from_system_time(now)),
            message: "created".to_owned(),
            ..TaskStatus::default()
        }),
        desired_state: TaskState::Running as i32,
        endpoint: Some(Endpoint { spec: spec.endpoint.clone(), ..Endpoint::default() }),
        log_driver: log_driver(cluster, spec).map(Box::new),
        ..Task::default()
    }
}

/// The task's own log driver, else the cluster's default.
fn log_driver(cluster: Option<&Cluster>, spec: &ServiceSpec) -> Option<Driver> {
    let own = spec.task.as_ref().and_then(|task| task.log_driver.as_ref());
    let default = || cluster?.spec.as_ref()?.task_defaults.as_ref()?.log_driver.as_ref();
    own.or_else(default).cloned()
}

//! What a service's update status says about its update, in SwarmKit's words.

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Service, UpdateStatus};

use crate::plan::Plan;

pub(super) fn mark_started(plan: &mut Plan, service_id: &str) {
    let status = UpdateStatus {
        state: UpdateState::Updating as i32,
        message: "update in progress".to_owned(),
        started_at: Some(from_system_time(plan.now)),
        completed_at: None,
    };
    plan.update_service(service_id, |service| service.update_status = Some(status));
}

pub(super) fn pause(plan: &mut Plan, service_id: &str, message: String) {
    plan.update_service(service_id, |service| {
        let Some(status) = &mut service.update_status else { return };
        let rollback = status.state() == UpdateState::RollbackStarted;
        status.set_state(if rollback { UpdateState::RollbackPaused } else { UpdateState::Paused });
        status.message = message;
    });
}

/// Says more about an update that goes on.
pub(super) fn remark(plan: &mut Plan, service_id: &str, remarks: &str) {
    let Some(service) = plan.tables.get::<Service>(service_id) else { return };
    let Some(status) = &service.update_status else { return };
    let said = status.message.split_once(';').map_or(&*status.message, |(said, _)| said);
    let message = format!("{said}{remarks}");
    if message != status.message {
        plan.update_service(service_id, |service| {
            service.update_status.get_or_insert_default().message = message;
        });
    }
}

pub(super) fn complete(plan: &mut Plan, service_id: &str, remarks: &str) {
    let now = from_system_time(plan.now);
    plan.update_service(service_id, |service| {
        let Some(status) = &mut service.update_status else { return };
        let rollback = status.state() == UpdateState::RollbackStarted;
        let (state, message) = if rollback {
            (UpdateState::RollbackCompleted, "rollback completed")
        } else {
            (UpdateState::Completed, "update completed")
        };
        status.set_state(state);
        status.message = format!("{message}{remarks}");
        status.completed_at = Some(now);
    });
}

/// Puts the previous specification in the place of the one that failed; what follows is another update. Where none is
/// known there is nothing to go back to: the update pauses.
pub(super) fn roll_back(plan: &mut Plan, service_id: &str, task: &str) {
    let previous = plan
        .tables
        .get::<Service>(service_id)
        .is_some_and(|service| service.previous_spec.is_some());
    if !previous {
        return pause(
            plan,
            service_id,
            format!("update paused due to failure or early termination of task {task}"),
        );
    }
    plan.update_service(service_id, |service| {
        let Some(status) = &mut service.update_status else { return };
        status.set_state(UpdateState::RollbackStarted);
        status.message =
            format!("update rolled back due to failure or early termination of task {task}");
        service.spec = service.previous_spec.take();
        service.spec_version = service.previous_spec_version.take();
        // Who read the service before has not seen this spec.
        service.spec_replaced_at = service.meta.as_ref().and_then(|meta| meta.version);
    });
}

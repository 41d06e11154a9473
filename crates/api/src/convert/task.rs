//! Tasks and the template that they were made from.

use swarm_proto::v1;
use swarm_proto::v1::TaskState;
use swarm_proto::v1::task_move::Reason;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::task_status::RuntimeStatus;

use super::common::{driver_json, meta, time_json, version_json};
use super::network::{attachment_json, network_attachment_json, port_json};
use super::{container, resources, update};
use crate::wire;

/// A task as clients see it.
pub(crate) fn task_json(task: &v1::Task) -> wire::Task {
    let meta = meta(task.meta.as_ref());
    let annotations = task.annotations.clone().unwrap_or_default();
    let volume = |v: &v1::VolumeAttachment| wire::VolumeAttachment {
        id: v.id.clone(),
        source: v.source.clone(),
        target: v.target.clone(),
    };
    wire::Task {
        id: task.id.clone(),
        version: meta.version,
        created_at: meta.created_at,
        updated_at: meta.updated_at,
        name: annotations.name,
        labels: annotations.labels,
        spec: task.spec.as_deref().map(task_spec_json).unwrap_or_default(),
        service_id: task.service_id.clone(),
        slot: task.slot,
        node_id: task.node_id.clone(),
        status: task
            .status
            .as_ref()
            .map(|status| task_status_json(status, task.moved.as_deref()))
            .unwrap_or_default(),
        desired_state: state_json(task.desired_state),
        networks_attachments: task.networks.iter().map(network_attachment_json).collect(),
        generic_resources: resources::generic_json(&task.assigned_generic_resources),
        job_iteration: task.job_iteration.as_ref().map(|v| version_json(Some(v))),
        volumes: (!task.volumes.is_empty()).then(|| task.volumes.iter().map(volume).collect()),
    }
}

/// A state's name in JSON and in the filter `desired-state`.
pub(crate) fn state_json(state: i32) -> String {
    TaskState::try_from(state).unwrap_or_default().as_str_name().to_lowercase()
}

fn task_status_json(status: &v1::TaskStatus, moved: Option<&v1::TaskMove>) -> wire::TaskStatus {
    let container_status =
        status.runtime_status.as_ref().map(|RuntimeStatus::Container(c)| wire::ContainerStatus {
            container_id: c.container_id.clone(),
            pid: c.pid,
            exit_code: c.exit_code,
        });
    let ports = status.port_status.as_ref().map(|p| p.ports.iter().map(port_json).collect());
    wire::TaskStatus {
        timestamp: time_json(status.timestamp.as_ref()),
        state: state_json(status.state),
        message: match moved {
            Some(moved) => format!("{}; {}", status.message, whence(moved)),
            None => status.message.clone(),
        },
        err: status.err.clone(),
        container_status,
        port_status: wire::PortStatus { ports: ports.unwrap_or_default() },
    }
}

/// Where a task was moved from, and why.
fn whence(moved: &v1::TaskMove) -> String {
    let node = if moved.hostname.is_empty() { &moved.node_id } else { &moved.hostname };
    match moved.reason() {
        Reason::Rebalance => format!("moved from node {node} to rebalance the service"),
        Reason::Drain => format!("moved from node {node}, which is drained"),
        Reason::Unspecified => format!("moved from node {node}"),
    }
}

/// A task template as clients see it; the runtime is named only where Docker names it.
pub(crate) fn task_spec_json(spec: &v1::TaskSpec) -> wire::TaskSpec {
    let mut json = wire::TaskSpec {
        restart_policy: spec.restart.as_ref().map(update::restart_policy_json),
        placement: spec.placement.as_ref().map(update::placement_json),
        networks: spec.networks.iter().map(attachment_json).collect(),
        log_driver: spec.log_driver.as_ref().map(driver_json),
        force_update: spec.force_update,
        ..Default::default()
    };
    let mut pids = 0;
    match &spec.runtime {
        Some(Runtime::Container(spec)) => {
            pids = spec.pids_limit;
            json.container_spec = Some(container::container_json(spec));
        }
        Some(Runtime::Attachment(spec)) => {
            json.network_attachment_spec =
                Some(wire::AttachmentSpec { container_id: spec.container_id.clone() });
            json.runtime = "attachment".to_owned();
        }
        Some(Runtime::Generic(spec)) => json.runtime = spec.kind.clone(),
        None => {}
    }
    json.resources = resources::requirements_json(spec, pids);
    json
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{TaskMove, TaskStatus};

    use super::*;

    #[test]
    fn a_task_says_where_it_was_moved_from() {
        for (reason, hostname, expect) in [
            (None, "", "started"),
            (
                Some(Reason::Rebalance),
                "worker2",
                "started; moved from node worker2 to rebalance the service",
            ),
            (Some(Reason::Drain), "", "started; moved from node n2, which is drained"),
        ] {
            let moved = reason.map(|reason| TaskMove {
                reason: reason as i32,
                node_id: "n2".into(),
                hostname: hostname.into(),
                ..TaskMove::default()
            });
            let status = TaskStatus { message: "started".into(), ..TaskStatus::default() };
            assert_eq!(task_status_json(&status, moved.as_ref()).message, expect);
        }
    }
}

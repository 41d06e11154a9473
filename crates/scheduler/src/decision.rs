//! What the scheduler writes on a task: its node, or why it has none.

use std::time::SystemTime;

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::{Task, TaskState, TaskStatus};
use swarm_store::Write;

use crate::demand::Demand;
use crate::node::NodeInfo;

pub(crate) const ASSIGNED: &str = "scheduler assigned task to node";
pub(crate) const CONFIRMED: &str = "scheduler confirmed task can run on preassigned node";

/// The task as it is on the node that was chosen for it.
pub(crate) fn assign(
    now: SystemTime,
    task: &Task,
    demand: &Demand,
    info: &NodeInfo,
    message: &str,
) -> Task {
    let choose = |(kind, value): &(String, i64)| info.generic.choose(kind, *value);
    Task {
        node_id: info.node.id.clone(),
        assigned_generic_resources: demand.generic.iter().flat_map(choose).collect(),
        status: Some(TaskStatus {
            state: TaskState::Assigned as i32,
            timestamp: Some(from_system_time(now)),
            message: message.to_owned(),
            ..TaskStatus::default()
        }),
        ..task.clone()
    }
}

/// Tells why a task waits, unless it says so already: an unplaceable task costs no write at each attempt.
pub(crate) fn refuse(now: SystemTime, task: &Task, reason: String) -> Option<Write> {
    let status = task.status.clone().unwrap_or_default();
    if status.err == reason {
        return None;
    }
    let status = TaskStatus { err: reason, timestamp: Some(from_system_time(now)), ..status };
    Some(Write::UpdateTask(Box::new(Task { status: Some(status), ..task.clone() })))
}

/// The task at its end, without ever having run.
pub(crate) fn shut_down(now: SystemTime, task: &Task) -> Task {
    let status = TaskStatus {
        state: TaskState::Shutdown as i32,
        timestamp: Some(from_system_time(now)),
        err: String::new(),
        ..task.status.clone().unwrap_or_default()
    };
    Task { status: Some(status), ..task.clone() }
}

/// The reason for waiting, in SwarmKit's words.
pub(crate) fn no_suitable_node(explanation: &str) -> String {
    if explanation.is_empty() {
        "no suitable node".to_owned()
    } else {
        format!("no suitable node ({explanation})")
    }
}

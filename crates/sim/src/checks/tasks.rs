//! Tasks only move forward, and stay on the node that they were given.

use swarm_proto::v1::{Task, TaskState};
use swarm_store::{Change, Commit, Delta};

pub(crate) fn check(commit: &Commit) -> Result<(), String> {
    commit.changes.iter().try_for_each(|change| match change {
        Change::Task(Delta { old: Some(old), new: Some(new) }) => step(old, new),
        _ => Ok(()),
    })
}

/// The orchestrator lets a task go on whose node is back, and which found no other place meanwhile: the one way back, for
/// tasks that have not ended.
fn goes_on(old: &Task, new: &Task) -> bool {
    let (running, shutdown) = (TaskState::Running as i32, TaskState::Shutdown as i32);
    let observed = new.status.as_ref().map_or(0, |status| status.state);
    (old.desired_state, new.desired_state) == (shutdown, running) && observed <= running
}

fn step(old: &Task, new: &Task) -> Result<(), String> {
    let id = &new.id;
    let observed = |task: &Task| task.status.as_ref().map_or(0, |status| status.state);
    if observed(new) < observed(old) {
        let (from, to) = (observed(old), observed(new));
        return Err(format!("task states move forward: task {id} goes from {from} to {to}"));
    }
    if new.desired_state < old.desired_state && !goes_on(old, new) {
        let (from, to) = (old.desired_state, new.desired_state);
        return Err(format!("desired states move forward: task {id} goes from {from} to {to}"));
    }
    if !old.node_id.is_empty() && old.node_id != new.node_id {
        let (from, to) = (&old.node_id, &new.node_id);
        return Err(format!("a task stays on its node: task {id} goes from {from} to {to}"));
    }
    Ok(())
}

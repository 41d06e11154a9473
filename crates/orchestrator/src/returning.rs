//! A node that was down is back: what it ran and what found no other place goes on there, undisturbed.
//!
//! The replacement of a lost task may wait for a place for as long as the node is away: because of a constraint, because
//! the others are full or as lost, or because a global service has its place there and nowhere else. The containers on
//! the node ran on meanwhile, so stopping them for a replacement on the same node would be a failure of our own making.
//! SwarmKit replaces them.
//!
//! A service may also prefer what comes back to a replacement that runs (`swarm.return=original`): then both run until
//! that is settled (`doubled`).
//!
//! This is the one place where a desired state moves backward, and only as far as no agent can have seen: the node has
//! not had a session since it was told to shut the task down. Should it have seen it all the same, the task ends, and is
//! replaced as any other.

use std::cmp::Reverse;
use std::sync::Arc;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Node, Service, Task, TaskState};

use crate::dirty::{is_dirty, placement, suits};
use crate::doubled::{made_at, prefers_original};
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{availability, is_dead, is_invalid, is_runnable, mode, observed, status_time};
use crate::update::Updates;

/// Lets the tasks of a node that returned go on, where nothing took their place, or is to have it; returns those beside
/// which others run.
pub(crate) fn take_back(
    plan: &mut Plan,
    restarts: &mut Restarts,
    updates: &Updates,
    node: &Node,
) -> Vec<String> {
    let mut doubled = Vec::new();
    if is_invalid(node) {
        return doubled;
    }
    let mut tasks: Vec<Arc<Task>> =
        plan.tables.tasks_by_node(&node.id).filter(|task| is_let_down(task)).cloned().collect();
    // The newest of a slot, should there be several.
    tasks.sort_by_key(|task| Reverse(status_time(task)));
    for task in tasks {
        let Some(service) = plan.tables.get::<Service>(&task.service_id).cloned() else { continue };
        if updates.is_running(&service.id)
            || is_dirty(&service, &task, Some(node))
            || !suits(placement(&service), node)
        {
            continue;
        }
        let slot = SlotKey::of(&service, &task);
        let others: Vec<_> =
            slot.tasks(&plan.tables).into_iter().filter(|other| is_runnable(other)).collect();
        let is_free = match mode(&service) {
            // A slot without any task that is to run is one too many by now.
            Some(Mode::Replicated(_)) => {
                !others.is_empty() && others.iter().all(|other| is_unplaced(other))
            }
            Some(Mode::Global(_)) => {
                others.is_empty() && availability(node) == Availability::Active
            }
            _ => false,
        };
        let is_preferred = prefers_original(&service)
            && !others.is_empty()
            && others.iter().all(|other| made_at(other) >= made_at(&task));
        if !is_free && !is_preferred {
            continue;
        }
        let newest = others.iter().map(|other| made_at(other)).max();
        for other in others {
            if is_free {
                restarts.forget(&other.id);
                plan.desire(&other.id, TaskState::Remove);
            } else if Some(made_at(&other)) == newest {
                doubled.push(task.id.clone());
            } else {
                // It came back as well, a generation later: what stands in for all of them stays until then.
                plan.desire(&other.id, TaskState::Shutdown);
            }
        }
        plan.update_task(&task.id, |task| task.desired_state = TaskState::Running as i32);
    }
    doubled
}

/// Whether a task was to be shut down while its node was away, and may still run there.
fn is_let_down(task: &Task) -> bool {
    task.desired_state == TaskState::Shutdown as i32
        && observed(task) == TaskState::Running as i32
        && !is_dead(task)
        && !task.service_id.is_empty()
}

fn is_unplaced(task: &Task) -> bool {
    task.node_id.is_empty() && observed(task) < TaskState::Assigned as i32
}

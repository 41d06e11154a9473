//! One slot whose task is being moved: the task that runs, and the one on another node that is to take its place.
//!
//! ```text
//!  old runs ─► new task beside it ─► new runs ──────────────► old told to stop
//!                     ├─► new fails, or is not wanted any more: new told to stop, old stays
//!                     └─► old ends, or loses its node: new is the slot's task from then on
//! ```
//!
//! So a slot is never without its running task because of a move. All of it can be read from the tables: the new task
//! says whose place it takes, the old one how often that failed. Why and when to move is decided elsewhere.

use std::sync::Arc;

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::task_move::Reason;
use swarm_proto::v1::{Node, Service, Task, TaskMove, TaskState};
use swarm_store::Tables;

use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{is_dead, is_invalid, is_runnable, observed};

/// The two tasks of a slot that is being moved.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) old: Arc<Task>,
    pub(crate) new: Arc<Task>,
}

impl Pair {
    /// The move that is under way among the tasks of a slot. Where an update has begun with it too, there is none.
    pub(crate) fn among<'a>(tasks: impl IntoIterator<Item = &'a Arc<Task>>) -> Option<Self> {
        let mut runnable = tasks.into_iter().filter(|task| is_runnable(task));
        let (one, other) = (runnable.next()?, runnable.next()?);
        let takes_place_of = |new: &Task, old: &Task| {
            new.moved.as_ref().is_some_and(|moved| moved.task_id == old.id)
        };
        if runnable.next().is_some() {
            return None;
        }
        let pair = |old: &Arc<Task>, new: &Arc<Task>| Self { old: old.clone(), new: new.clone() };
        match (takes_place_of(one, other), takes_place_of(other, one)) {
            (true, _) => Some(pair(other, one)),
            (_, true) => Some(pair(one, other)),
            _ => None,
        }
    }

    /// Why it is moved.
    pub(crate) fn reason(&self) -> Reason {
        self.new.moved.as_ref().map(|moved| moved.reason()).unwrap_or_default()
    }

    /// Whether the new task was refused by the node that was chosen for it.
    pub(crate) fn is_refused(&self) -> bool {
        let refused = self.new.status.as_ref().is_some_and(|status| !status.err.is_empty());
        !self.new.node_id.is_empty() && observed(&self.new) == TaskState::Pending as i32 && refused
    }

    /// The new task runs: the old one may go.
    pub(crate) fn finish(&self, plan: &mut Plan) {
        plan.desire(&self.old.id, TaskState::Shutdown);
    }

    /// The new task is not wanted any more: the old one stays.
    pub(crate) fn cancel(&self, plan: &mut Plan) {
        let is_placed = observed(&self.new) >= TaskState::Assigned as i32;
        let end = if is_placed { TaskState::Shutdown } else { TaskState::Remove };
        plan.desire(&self.new.id, end);
    }

    /// The new task failed, or found no room after all: the old one stays, and remembers.
    pub(crate) fn fail(&self, plan: &mut Plan) {
        self.cancel(plan);
        let now = plan.now;
        plan.update_task(&self.old.id, |old| {
            let failures = old.move_failures.get_or_insert_default();
            failures.count += 1;
            failures.last_at = Some(from_system_time(now));
        });
    }
}

/// Begins to move a task: to the node `to`, or to whichever the scheduler chooses.
pub(crate) fn begin(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    old: &Task,
    reason: Reason,
    to: Option<String>,
) {
    let node = plan.tables.get::<Node>(&old.node_id);
    let description = node.and_then(|node| node.description.as_ref());
    let moved = TaskMove {
        reason: reason as i32,
        task_id: old.id.clone(),
        node_id: old.node_id.clone(),
        hostname: description.map(|description| description.hostname.clone()).unwrap_or_default(),
    };
    let new = restarts.new_task(plan, service, &SlotKey::of(service, old));
    plan.create_task(Task { moved: Some(Box::new(moved)), node_id: to.unwrap_or_default(), ..new });
}

/// A task ended or lost its node: what follows from its being part of a move. False where it is to be replaced as any
/// other.
pub(crate) fn ended(
    plan: &mut Plan,
    restarts: &Restarts,
    service: &Service,
    task: &Arc<Task>,
) -> bool {
    let Some(pair) = Pair::among(&SlotKey::of(service, task).tasks(&plan.tables)) else {
        return false;
    };
    if task.id == pair.new.id {
        if is_dead(task) {
            pair.fail(plan);
        } else {
            pair.cancel(plan);
        }
        return true;
    }
    let waits_for_its_node =
        !pair.new.node_id.is_empty() && observed(&pair.new) < TaskState::Assigned as i32;
    if waits_for_its_node
        || is_lost(&plan.tables, &pair.new)
        || !restarts.should_restart(task, service)
    {
        pair.cancel(plan);
        return false;
    }
    pair.finish(plan);
    true
}

/// Whether a task ended, or its node cannot keep it.
fn is_lost(tables: &Tables, task: &Task) -> bool {
    let node = tables.get::<Node>(&task.node_id);
    is_dead(task) || (!task.node_id.is_empty() && node.is_none_or(|node| is_invalid(node)))
}

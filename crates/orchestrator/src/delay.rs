//! Why a task that is desired READY is not started yet, and until when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::{Node, Task, TaskState};
use swarm_store::Tables;

use crate::backoff;
use crate::defaults::restart_delay;
use crate::slot::SlotKey;
use crate::task::{created_at, is_dead, is_down, is_stopped};

/// How long a replacement waits for the task before it to stop; a node that does not answer must not hold it for ever.
pub(crate) const OLD_TASK_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a task is not started yet.
#[derive(Debug, Clone)]
pub(crate) struct Delay {
    pub(crate) start_at: SystemTime,
    /// The task to wait for, and until when at most.
    pub(crate) wait_for: Option<(String, SystemTime)>,
    /// Whether the delayed task ended meanwhile and is to be replaced when the delay is over: this keeps a task that
    /// fails while it is prepared from being replaced in a tight loop.
    pub(crate) failed: bool,
    /// When the task is to say why it waits, if it doesn't yet.
    pub(crate) tell_at: Option<SystemTime>,
}

impl Delay {
    /// Until when a delay goes on at least; none if it is over.
    pub(crate) fn postponed(&self, now: SystemTime, tables: &Tables) -> Option<SystemTime> {
        if now < self.start_at {
            return Some(self.start_at);
        }
        let (old, until) = self.wait_for.as_ref()?;
        let runs = tables.get::<Task>(old).is_some_and(|task| may_stop(tables, task));
        (runs && now < *until).then_some(*until)
    }

    /// The same delay, but none of it later than if it began now: the clock may have been set back since it began.
    pub(crate) fn no_later(&self, now: SystemTime, task: &Task) -> Self {
        let latest = now + OLD_TASK_TIMEOUT;
        let wait_for = self.wait_for.as_ref().map(|(old, until)| (old.clone(), latest.min(*until)));
        Self {
            start_at: self.start_at.min(now + length(task)),
            wait_for,
            failed: self.failed,
            tell_at: None,
        }
    }

    /// The delay of a task that an earlier leader left desired READY: what remains of its restart delay, and whichever task
    /// of its slot is still on its way out.
    pub(crate) fn reconstruct(now: SystemTime, tables: &Tables, task: &Task) -> Self {
        let status = task.status.as_ref();
        let since =
            status.and_then(|status| status.applied_at.as_ref().or(status.timestamp.as_ref()));
        let delay = length(task);
        let start_at = backoff::until(task)
            .or_else(|| since.map(|since| to_system_time(since) + delay))
            .unwrap_or(now + delay)
            .min(now + delay);
        let predecessor = stopping(tables, &SlotKey::find(tables, task), &task.id);
        let wait_for = predecessor.map(|other| (other.id.clone(), now + OLD_TASK_TIMEOUT));
        Self { start_at, wait_for, failed: is_dead(task), tell_at: None }
    }
}

/// How long a task's start is delayed in all.
fn length(task: &Task) -> Duration {
    match backoff::until(task) {
        Some(until) => until.duration_since(created_at(task)).unwrap_or_default(),
        None => restart_delay(task),
    }
}

/// A task of a slot, other than `except`, that was told to stop and has not yet.
pub(crate) fn stopping(tables: &Tables, slot: &SlotKey, except: &str) -> Option<Arc<Task>> {
    slot.tasks(tables).into_iter().find(|task| task.id != except && is_on_its_way_out(tables, task))
}

/// Whether a task was told to stop, has not yet, and may be expected to.
pub(crate) fn is_on_its_way_out(tables: &Tables, task: &Task) -> bool {
    task.desired_state > TaskState::Complete as i32 && may_stop(tables, task)
}

/// Whether a task has not stopped, and is where one may hear that it has.
fn may_stop(tables: &Tables, task: &Task) -> bool {
    let node = tables.get::<Node>(&task.node_id);
    !is_stopped(task) && (task.node_id.is_empty() || node.is_some_and(|node| !is_down(node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_cut_where_the_clock_went_back() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let delay = Delay {
            start_at: at(1005),
            wait_for: Some(("old".to_owned(), at(1060))),
            failed: true,
            tell_at: None,
        };
        for (now, start_at, until) in [(1000, 1005, 1060), (1003, 1005, 1060), (10, 15, 70)] {
            // Without a policy of its own a task waits for five seconds.
            let cut = delay.no_later(at(now), &Task::default());
            assert_eq!(cut.start_at, at(start_at), "at {now}");
            assert_eq!(cut.wait_for, Some(("old".to_owned(), at(until))), "at {now}");
            assert!(cut.failed);
        }
    }
}

//! What the workers of an update do with their slots, step by step.
//!
//! ```text
//! Idle ─► new task, old one told to stop (stop-first) ──────────────────────► Starting ─► Delaying ─► Idle …
//!      ─► new task (start-first) ─► Placing ─► it has a place ──────────────► Starting: comes up, old one told to stop
//!                                      └─► refused for what the old one has: old one told to stop ─► Starting
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::{Node, Service, Task, TaskState};
use swarm_scheduler::affinity;
use swarm_store::{PORTION, Tables};

use super::rollout::Rollout;
use super::room;
use crate::delay::stopping;
use crate::dirty::{is_dirty, placement};
use crate::doubled::prefers_original;
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{is_runnable, observed};

/// How long a new task must have been refused before its predecessor makes room: the scheduler may have heard less yet
/// than the update has.
pub(super) const REFUSED_MIN: Duration = Duration::from_millis(200);

/// One of as many as may work at a time.
pub(super) enum Worker {
    Idle,
    /// Waits for a new task to find a place beside the old one, which it has not been refused, or since then.
    Placing {
        slot: SlotKey,
        task: String,
        refused_at: Option<SystemTime>,
    },
    /// Waits for a new task to come up; with start-first the slot's other tasks are shut down then.
    Starting {
        slot: SlotKey,
        task: String,
    },
    /// Lets the configured delay pass before the next slot.
    Delaying {
        until: SystemTime,
    },
}

impl Rollout {
    /// One step of one worker: what it does next, and whether it has to wait there.
    pub(super) fn advance(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        service: &Service,
        worker: Worker,
        in_motion: bool,
    ) -> (Worker, bool) {
        match worker {
            Worker::Idle if plan.len() >= PORTION => {
                self.is_behind = !self.queue.is_empty();
                (Worker::Idle, true)
            }
            Worker::Idle if !self.may_begin() => (Worker::Idle, true),
            Worker::Idle => match self.queue.pop_front() {
                None => (Worker::Idle, true),
                Some(slot) => (self.begin(plan, restarts, service, slot), false),
            },
            Worker::Placing { slot, task, refused_at } => {
                let place = (slot, task, refused_at);
                self.watch_placing(plan, restarts, service, place, in_motion)
            }
            Worker::Starting { slot, task } => self.watch_start(plan, restarts, slot, task),
            Worker::Delaying { until } if plan.now < until => (Worker::Delaying { until }, true),
            Worker::Delaying { .. } => (Worker::Idle, false),
        }
    }

    /// Whether one more slot may be without its old task.
    fn may_begin(&self) -> bool {
        let is_busy = |worker: &&Worker| !matches!(worker, Worker::Idle);
        self.workers.len() <= self.parallelism
            || self.workers.iter().filter(is_busy).count() < self.parallelism
    }

    /// After a slot: the delay, unless nothing is left that it would delay.
    fn rest(&self, now: SystemTime) -> Worker {
        let delay = self.config.delay.as_ref().map(to_duration).unwrap_or_default();
        if delay.is_zero() || self.queue.is_empty() {
            Worker::Idle
        } else {
            Worker::Delaying { until: now + delay }
        }
    }

    fn begin(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        service: &Service,
        slot: SlotKey,
    ) -> Worker {
        let tasks = restarts.updatable(&slot.tasks(&plan.tables), service);
        if !is_slot_dirty(&plan.tables, service, &tasks) {
            return Worker::Idle;
        }
        let clean =
            |task: &&Arc<Task>| !is_task_dirty(&plan.tables, service, task) && is_runnable(task);
        // A task that is to run already comes before one that is only being readied.
        if let Some(existing) =
            tasks.iter().filter(clean).max_by_key(|task| task.desired_state).cloned()
        {
            return self.take_up(plan, restarts, slot, &tasks, &existing);
        }
        let new = Task {
            desired_state: TaskState::Ready as i32,
            ..restarts.new_task(plan, service, &slot)
        };
        let id = new.id.clone();
        self.tally.made(id.clone());
        plan.create_task(new);
        let predecessor = if self.is_start_first() && leave_one(plan, &tasks) {
            if may_conflict(service) {
                return Worker::Placing { slot, task: id, refused_at: None };
            }
            None
        } else {
            let last = shut_down(plan, &tasks);
            // A task that an earlier update has shut down may still be there.
            last.or_else(|| stopping(&plan.tables, &slot, &id))
        };
        restarts.delay_start(plan, &id, predecessor.as_deref(), Duration::ZERO);
        Worker::Starting { slot, task: id }
    }

    /// Goes on with a task of the right specification that is in the slot already.
    fn take_up(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        slot: SlotKey,
        tasks: &[Arc<Task>],
        existing: &Arc<Task>,
    ) -> Worker {
        let others: Vec<_> = tasks.iter().filter(|task| task.id != existing.id).cloned().collect();
        if self.is_start_first() && !is_up(existing) && leave_one(plan, &others) {
            return Worker::Placing { slot, task: existing.id.clone(), refused_at: None };
        }
        let predecessor = shut_down(plan, &others);
        if existing.desired_state < TaskState::Running as i32 {
            restarts.delay_start(plan, &existing.id, predecessor.as_deref(), Duration::ZERO);
        }
        Worker::Starting { slot, task: existing.id.clone() }
    }

    /// Starts a new task once it has a place; lets the slot's other tasks go before it if they have its place.
    fn watch_placing(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        service: &Service,
        (slot, task, refused_at): (SlotKey, String, Option<SystemTime>),
        in_motion: bool,
    ) -> (Worker, bool) {
        let Some(new) = plan.tables.get::<Task>(&task).cloned() else {
            return (self.rest(plan.now), false);
        };
        if observed(&new) >= TaskState::Assigned as i32 || !is_runnable(&new) {
            if is_runnable(&new) {
                restarts.delay_start(plan, &task, None, Duration::ZERO);
            }
            return (Worker::Starting { slot, task }, false);
        }
        let mut others = slot.tasks(&plan.tables);
        others.retain(|other| other.id != task);
        let conflict = room::held_by_others(&plan.tables, service, &new, &others);
        let Some(conflict) = conflict.filter(|_| !in_motion) else {
            return (Worker::Placing { slot, task, refused_at: None }, true);
        };
        let at = refused_at.unwrap_or(plan.now);
        if plan.now < at + REFUSED_MIN {
            return (Worker::Placing { slot, task, refused_at: Some(at) }, true);
        }
        self.stopped_first.insert(slot.clone(), conflict);
        let predecessor = shut_down(plan, &others);
        restarts.delay_start(plan, &task, predecessor.as_deref(), Duration::ZERO);
        (Worker::Starting { slot, task }, false)
    }

    /// Whether something of the service is about to make room.
    pub(super) fn is_in_motion(&self, plan: &Plan, service: &Service) -> bool {
        let coming_up = TaskState::Assigned as i32..TaskState::Running as i32;
        let is_coming_up = |worker: &Worker| {
            let Worker::Starting { task, .. } = worker else { return false };
            let task = plan.tables.get::<Task>(task);
            task.is_some_and(|task| is_runnable(task) && coming_up.contains(&observed(task)))
        };
        self.workers.iter().any(is_coming_up) || room::is_in_motion(&plan.tables, &service.id)
    }

    fn watch_start(
        &mut self,
        plan: &mut Plan,
        restarts: &Restarts,
        slot: SlotKey,
        task: String,
    ) -> (Worker, bool) {
        let Some(new) = plan.tables.get::<Task>(&task).cloned() else {
            return (self.rest(plan.now), false);
        };
        let state = observed(&new);
        // Its node went before it came up, and nobody may ever report on it: what the slot has by now is looked at.
        if state < TaskState::Running as i32 && new.desired_state > TaskState::Running as i32 {
            self.queue.push_back(slot);
            return (self.rest(plan.now), false);
        }
        if restarts.is_delayed(&task) || state < TaskState::Running as i32 {
            return (Worker::Starting { slot, task }, true);
        }
        if is_up(&new) && self.is_start_first() {
            let others: Vec<_> =
                slot.tasks(&plan.tables).into_iter().filter(|other| other.id != task).collect();
            shut_down(plan, &others);
        }
        self.tally.came_up(&task, plan.now);
        (self.rest(plan.now), false)
    }
}

/// Whether two tasks of a slot may be in each other's way.
fn may_conflict(service: &Service) -> bool {
    let endpoint = service.spec.as_ref().and_then(|spec| spec.endpoint.as_ref());
    endpoint.is_some_and(|endpoint| !endpoint.ports.is_empty())
        || placement(service)
            .is_some_and(|placement| placement.max_replicas > 0 || affinity::is_required(placement))
}

/// Shuts down those of `tasks` that are to run, and returns the last of them.
fn shut_down(plan: &mut Plan, tasks: &[Arc<Task>]) -> Option<Arc<Task>> {
    let mut last = None;
    for task in tasks.iter().filter(|task| is_runnable(task)) {
        plan.desire(&task.id, TaskState::Shutdown);
        last = plan.tables.get::<Task>(&task.id).cloned();
    }
    last
}

/// Shuts down all of `tasks` but one that is up; whether there is one.
fn leave_one(plan: &mut Plan, tasks: &[Arc<Task>]) -> bool {
    let Some(kept) = tasks.iter().find(|task| is_up(task)) else { return false };
    let others: Vec<_> = tasks.iter().filter(|task| task.id != kept.id).cloned().collect();
    shut_down(plan, &others);
    true
}

fn is_up(task: &Task) -> bool {
    observed(task) == TaskState::Running as i32
}

/// Whether a slot needs work: it holds several tasks, or one of another specification. Several of the right one may be
/// there for a while where the service prefers what comes back.
pub(super) fn is_slot_dirty(tables: &Tables, service: &Service, slot: &[Arc<Task>]) -> bool {
    (slot.len() > 1 && !prefers_original(service))
        || slot.iter().any(|task| is_task_dirty(tables, service, task))
}

fn is_task_dirty(tables: &Tables, service: &Service, task: &Task) -> bool {
    is_dirty(service, task, tables.get::<Node>(&task.node_id).map(|node| &**node))
        || is_in_bad_company(tables, service, task)
}

/// Whether a task of an earlier specification is beside services that the newest doesn't want beside it. One that is what
/// its service asks for stays wherever it is, whoever came beside it.
fn is_in_bad_company(tables: &Tables, service: &Service, task: &Task) -> bool {
    task.spec_version != service.spec_version
        && !task.node_id.is_empty()
        && placement(service).is_some_and(|placement| !affinity::suits(tables, placement, task))
}

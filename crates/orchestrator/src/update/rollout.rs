//! One rolling update: its workers, each on one slot at a time, and the judgement over the tasks that they made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::update_config::{FailureAction, UpdateOrder};
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Node, Service, ServiceSpec, Task, TaskState, UpdateConfig, UpdateStatus};
use swarm_store::Tables;

use crate::defaults::{monitor, update_config};
use crate::dirty::is_dirty;
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{is_dead, is_runnable, observed};

/// An update on its way from one specification to another.
pub(super) struct Rollout {
    /// The specification that this update works towards.
    pub(super) goal: Option<ServiceSpec>,
    config: UpdateConfig,
    rollback: bool,
    queue: VecDeque<SlotKey>,
    slots_total: usize,
    workers: Vec<Worker>,
    /// The tasks that this update made, and when each came up.
    updated: BTreeMap<String, Option<SystemTime>>,
    failed: BTreeSet<String>,
    /// Set when the last slot is done: until when failures still count.
    monitor_until: Option<SystemTime>,
}

/// One of as many as may work at a time.
enum Worker {
    Idle,
    /// Waits for a new task to come up; with start-first the slot's other tasks are shut down then.
    Starting {
        slot: SlotKey,
        task: String,
    },
    /// Waits for a task of the right specification, found in the slot, to be started.
    Advancing {
        task: String,
    },
    /// Lets the configured delay pass before the next slot.
    Delaying {
        until: SystemTime,
    },
}

/// What the failures so far ask for.
pub(super) enum Verdict {
    GoOn,
    /// With the message that says why.
    Pause(String),
    /// With the task whose failure decided it.
    RollBack(String),
}

impl Rollout {
    pub(super) fn new(service: &Service, queue: VecDeque<SlotKey>) -> Self {
        let rollback = service.update_status.as_ref().map(UpdateStatus::state)
            == Some(UpdateState::RollbackStarted);
        let config = update_config(service, rollback);
        // A parallelism of nothing means no limit.
        let parallelism = match usize::try_from(config.parallelism) {
            Ok(limit) if limit > 0 => limit.min(queue.len()),
            _ => queue.len(),
        };
        Self {
            goal: service.spec.clone(),
            config,
            rollback,
            slots_total: queue.len(),
            queue,
            workers: (0..parallelism).map(|_| Worker::Idle).collect(),
            updated: BTreeMap::new(),
            failed: BTreeSet::new(),
            monitor_until: None,
        }
    }

    pub(super) fn wakeup(&self) -> Option<SystemTime> {
        let delays = self.workers.iter().filter_map(|worker| match worker {
            Worker::Delaying { until } => Some(*until),
            _ => None,
        });
        delays.chain(self.monitor_until).min()
    }

    fn delay(&self) -> Duration {
        self.config.delay.as_ref().map(to_duration).unwrap_or_default()
    }

    /// Counts the new tasks that failed too early, and decides what follows.
    pub(super) fn judge(&mut self, plan: &Plan) -> Verdict {
        if self.config.failure_action() == FailureAction::Continue {
            return Verdict::GoOn;
        }
        let period = monitor(&self.config);
        for (id, started) in &self.updated {
            let in_time =
                started.is_none_or(|at| plan.now.duration_since(at).unwrap_or_default() <= period);
            let dead = plan.tables.get::<Task>(id).is_some_and(|task| is_dead(task));
            if !dead || !in_time || !self.failed.insert(id.clone()) {
                continue;
            }
            if self.failed.len() as f32 / self.slots_total as f32 > self.config.max_failure_ratio {
                return verdict(self.config.failure_action(), self.rollback, id);
            }
        }
        Verdict::GoOn
    }

    /// Lets every worker go on until it has to wait.
    pub(super) fn work(&mut self, plan: &mut Plan, restarts: &mut Restarts, service: &Service) {
        for index in 0..self.workers.len() {
            while let Some(worker) = self.workers.get_mut(index) {
                let worker = std::mem::replace(worker, Worker::Idle);
                let (next, waits) = self.advance(plan, restarts, service, worker);
                if let Some(worker) = self.workers.get_mut(index) {
                    *worker = next;
                }
                if waits {
                    break;
                }
            }
        }
    }

    /// One step of one worker: what it does next, and whether it has to wait there.
    fn advance(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        service: &Service,
        worker: Worker,
    ) -> (Worker, bool) {
        match worker {
            Worker::Idle => match self.queue.pop_front() {
                None => (Worker::Idle, true),
                Some(slot) => (self.begin(plan, restarts, service, slot), false),
            },
            Worker::Starting { slot, task } => self.watch_start(plan, restarts, slot, task),
            Worker::Advancing { task } if restarts.is_delayed(&task) => {
                (Worker::Advancing { task }, true)
            }
            Worker::Advancing { .. } => (self.rest(plan.now), false),
            Worker::Delaying { until } if plan.now < until => (Worker::Delaying { until }, true),
            Worker::Delaying { .. } => (Worker::Idle, false),
        }
    }

    /// After a slot: the delay, unless nothing is left that it would delay.
    fn rest(&self, now: SystemTime) -> Worker {
        let delay = self.delay();
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
            return use_existing(plan, restarts, &tasks, &existing);
        }
        let new = Task {
            desired_state: TaskState::Ready as i32,
            ..restarts.new_task(plan, service, &slot)
        };
        let id = new.id.clone();
        self.updated.insert(id.clone(), None);
        plan.create_task(new);
        let predecessor = match self.config.order() {
            UpdateOrder::StartFirst => None,
            UpdateOrder::StopFirst => shut_down(plan, &tasks),
        };
        restarts.delay_start(plan, &id, predecessor.as_deref(), Duration::ZERO);
        Worker::Starting { slot, task: id }
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
        if state == TaskState::Running as i32 && self.config.order() == UpdateOrder::StartFirst {
            let others: Vec<_> =
                slot.tasks(&plan.tables).into_iter().filter(|other| other.id != task).collect();
            shut_down(plan, &others);
        }
        self.updated.insert(task, Some(plan.now));
        (self.rest(plan.now), false)
    }

    /// Whether all is done and has been watched for long enough.
    pub(super) fn is_finished(&mut self, now: SystemTime) -> bool {
        if !self.queue.is_empty()
            || self.workers.iter().any(|worker| !matches!(worker, Worker::Idle))
        {
            return false;
        }
        let until = *self.monitor_until.get_or_insert(now + monitor(&self.config));
        now >= until
    }
}

fn verdict(action: FailureAction, rollback: bool, task: &str) -> Verdict {
    match (action, rollback) {
        (FailureAction::Continue, _) => Verdict::GoOn,
        // A rollback is never rolled back.
        (FailureAction::Rollback, true) => Verdict::Pause(format!(
            "rollback paused due to failure or early termination of task {task}"
        )),
        (FailureAction::Rollback, false) => Verdict::RollBack(task.to_owned()),
        (FailureAction::Pause, _) => Verdict::Pause(format!(
            "update paused due to failure or early termination of task {task}"
        )),
    }
}

fn use_existing(
    plan: &mut Plan,
    restarts: &mut Restarts,
    slot: &[Arc<Task>],
    existing: &Arc<Task>,
) -> Worker {
    let others: Vec<_> = slot.iter().filter(|task| task.id != existing.id).cloned().collect();
    let predecessor = shut_down(plan, &others);
    if existing.desired_state < TaskState::Running as i32 {
        restarts.delay_start(plan, &existing.id, predecessor.as_deref(), Duration::ZERO);
    }
    Worker::Advancing { task: existing.id.clone() }
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

/// Whether a slot needs work: it holds several tasks, or one of another specification.
pub(super) fn is_slot_dirty(tables: &Tables, service: &Service, slot: &[Arc<Task>]) -> bool {
    slot.len() > 1 || slot.iter().any(|task| is_task_dirty(tables, service, task))
}

fn is_task_dirty(tables: &Tables, service: &Service, task: &Task) -> bool {
    is_dirty(service, task, tables.get::<Node>(&task.node_id).map(|node| &**node))
}

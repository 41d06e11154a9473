//! One rolling update: its workers, each on one slot at a time.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use swarm_proto::v1::update_config::{FailureAction, UpdateOrder};
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Service, ServiceSpec, UpdateConfig, UpdateStatus};
use swarm_scheduler::reason::Conflict;

use super::News;
use super::tally::Tally;
use super::worker::{REFUSED_MIN, Worker};
use crate::defaults::{monitor, update_config};
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;

/// An update on its way from one specification to another.
pub(super) struct Rollout {
    /// The specification that this update works towards.
    pub(super) goal: Option<ServiceSpec>,
    pub(super) config: UpdateConfig,
    rollback: bool,
    pub(super) queue: VecDeque<SlotKey>,
    slots_total: usize,
    pub(super) workers: Vec<Worker>,
    /// How many of them may work at a time; what was in flight before may be more.
    pub(super) parallelism: usize,
    pub(super) tally: Tally,
    /// The slots that had no room for two tasks, and why.
    pub(super) stopped_first: BTreeMap<SlotKey, Conflict>,
    /// Whether slots wait for the next plan: this one was full.
    pub(super) is_behind: bool,
    /// Set when the last slot is done: until when failures still count.
    monitor_until: Option<SystemTime>,
}

/// What an update finds of one before it, or of its own from before a change of leader.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// How many slots it had done, or begun.
    pub(super) slots: usize,
    /// The tasks of them that are still watched, and when each came up.
    pub(super) made: BTreeMap<String, Option<SystemTime>>,
    /// The slots that need nothing more than that their task comes up.
    pub(super) in_flight: Vec<(SlotKey, String)>,
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
    pub(super) fn new(service: &Service, queue: VecDeque<SlotKey>, inherited: Inherited) -> Self {
        let rollback = service.update_status.as_ref().map(UpdateStatus::state)
            == Some(UpdateState::RollbackStarted);
        let config = update_config(service, rollback);
        let is_done = queue.is_empty() && inherited.in_flight.is_empty();
        let up_at = inherited.made.values().flatten().max();
        let monitor_until = up_at.filter(|_| is_done).map(|at| *at + monitor(&config));
        let mut workers: Vec<_> = inherited
            .in_flight
            .into_iter()
            .map(|(slot, task)| Worker::Starting { slot, task })
            .collect();
        let slots_total = queue.len() + inherited.slots;
        // A parallelism of nothing means no limit.
        let limit = match usize::try_from(config.parallelism) {
            Ok(limit) if limit > 0 => limit,
            _ => usize::MAX,
        };
        let count = limit.min(queue.len() + workers.len()).max(workers.len());
        workers.resize_with(count, || Worker::Idle);
        Self {
            goal: service.spec.clone(),
            config,
            rollback,
            slots_total,
            queue,
            workers,
            parallelism: limit,
            tally: Tally::new(slots_total, inherited.made),
            stopped_first: BTreeMap::new(),
            is_behind: false,
            monitor_until,
        }
    }

    pub(super) fn wakeup(&self) -> Option<SystemTime> {
        let delays = self.workers.iter().filter_map(|worker| match worker {
            Worker::Delaying { until } => Some(*until),
            Worker::Placing { refused_at, .. } => refused_at.map(|at| at + REFUSED_MIN),
            _ => None,
        });
        delays.chain(self.monitor_until).min()
    }

    /// The slots whose new tasks have not come up yet.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (SlotKey, String)> {
        self.workers.iter().filter_map(|worker| match worker {
            Worker::Placing { slot, task, .. } | Worker::Starting { slot, task } => {
                Some((slot.clone(), task.clone()))
            }
            _ => None,
        })
    }

    /// What there is to say of the update beyond its state.
    pub(super) fn remarks(&self) -> String {
        let mut remarks = String::new();
        let total = self.slots_total;
        if let Some(conflict) = self.stopped_first.values().next() {
            let count = self.stopped_first.len();
            remarks.push_str(&format!(
                "; stop-first instead of start-first for {count} of {total} slots: {conflict}"
            ));
        }
        let failed = self.tally.failed();
        if failed > 0 {
            remarks.push_str(&format!("; new tasks that failed: {failed} (of {total} slots)"));
        }
        remarks
    }

    pub(super) fn is_start_first(&self) -> bool {
        self.config.order() == UpdateOrder::StartFirst
    }

    /// Counts the new tasks that failed too early, and decides what follows.
    pub(super) fn judge(&mut self, plan: &Plan, news: News<'_>) -> Verdict {
        let (period, ratio_max) = (monitor(&self.config), self.config.max_failure_ratio);
        match self.tally.judge(plan, news, period, ratio_max) {
            Some(culprit) => verdict(self.config.failure_action(), self.rollback, &culprit),
            None => Verdict::GoOn,
        }
    }

    /// Lets every worker go on until it has to wait.
    pub(super) fn work(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        service: &Service,
        news: News<'_>,
    ) {
        self.is_behind = false;
        let is_placing = |worker: &Worker| matches!(worker, Worker::Placing { .. });
        let in_motion = self.workers.iter().any(is_placing) && self.is_in_motion(plan, service);
        for index in 0..self.workers.len() {
            // Of many that wait, those are looked at that have a reason to go on.
            if let Some(Worker::Starting { task, .. }) = self.workers.get(index)
                && !news.tells_of(task)
            {
                continue;
            }
            while let Some(worker) = self.workers.get_mut(index) {
                let worker = std::mem::replace(worker, Worker::Idle);
                let (next, waits) = self.advance(plan, restarts, service, worker, in_motion);
                if let Some(worker) = self.workers.get_mut(index) {
                    *worker = next;
                }
                if waits {
                    break;
                }
            }
        }
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
    let what = if rollback { "rollback" } else { "update" };
    match action {
        FailureAction::Continue => Verdict::GoOn,
        FailureAction::Rollback if !rollback => Verdict::RollBack(task.to_owned()),
        // A rollback is never rolled back.
        FailureAction::Rollback | FailureAction::Pause => Verdict::Pause(format!(
            "{what} paused due to failure or early termination of task {task}"
        )),
    }
}

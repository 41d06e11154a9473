//! What the tables tell of a service's moves: which are under way, when the last ones ended, what failed. Budgets are
//! derived from this alone, so they hold whoever leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::{Service, Task, TaskState};
use swarm_store::Tables;

use super::pair::Pair;
use crate::task::{is_runnable, observed};

/// How long after a failed move the next is tried, and the longest that this grows to with further failures.
const BACK_OFF_MIN: Duration = Duration::from_secs(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// A service's moves.
pub(super) struct Survey {
    /// Those under way.
    pub(super) pairs: Vec<Pair>,
    /// The only tasks of their slots that are to run, and run.
    pub(super) settled: Vec<Arc<Task>>,
    /// When tasks that were moved came up.
    up_at: Vec<SystemTime>,
    /// Failed moves since the last that succeeded, and when the last of them did.
    failures: u64,
    failed_at: Option<SystemTime>,
}

impl Survey {
    pub(super) fn new(tables: &Tables, service: &Service, now: SystemTime) -> Self {
        let mut slots: BTreeMap<u64, Vec<&Arc<Task>>> = BTreeMap::new();
        for task in tables.tasks_by_service(&service.id).filter(|task| is_runnable(task)) {
            slots.entry(task.slot).or_default().push(task);
        }
        let mut survey = Self {
            pairs: Vec::new(),
            settled: Vec::new(),
            up_at: Vec::new(),
            failures: 0,
            failed_at: None,
        };
        for tasks in slots.into_values() {
            for task in &tasks {
                survey.note(task, now);
            }
            if let Some(pair) = Pair::among(tasks.iter().copied()) {
                survey.pairs.push(pair);
            } else if let [task] = tasks[..]
                && is_up(task)
            {
                survey.settled.push(task.clone());
            }
        }
        survey
    }

    fn note(&mut self, task: &Task, now: SystemTime) {
        if let Some(failures) = &task.move_failures {
            self.failures = self.failures.saturating_add(failures.count);
            self.failed_at = self.failed_at.max(failures.last_at.as_ref().map(to_system_time));
        }
        if task.moved.is_some() && is_up(task) {
            let status = task.status.as_ref();
            let at = status
                .and_then(|status| status.applied_at.as_ref().or(status.timestamp.as_ref()))
                .map_or(now, to_system_time);
            self.up_at.push(at);
        }
    }

    /// How many moves are under way, or ended less than `delay` ago.
    pub(super) fn busy(&self, now: SystemTime, delay: Duration) -> usize {
        let rests = |at: &&SystemTime| is_within(**at, now, delay);
        self.pairs.len() + self.up_at.iter().filter(rests).count()
    }

    /// When one less is [busy](Self::busy), if nothing else happens.
    pub(super) fn rests_until(&self, now: SystemTime, delay: Duration) -> Option<SystemTime> {
        let resting = self.up_at.iter().filter(|at| is_within(**at, now, delay));
        resting.map(|at| *at + delay).min()
    }

    /// Until when nothing is moved, since moves failed.
    pub(super) fn backs_off_until(&self, now: SystemTime) -> Option<SystemTime> {
        let doublings = u32::try_from(self.failures.checked_sub(1)?).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let length = BACK_OFF_MIN.saturating_mul(factor).min(BACK_OFF_MAX);
        let failed_at = self.failed_at.filter(|at| is_within(*at, now, length))?;
        Some(failed_at + length)
    }
}

/// Whether less than `length` passed since `at`. What is farther ahead than that comes from a leader whose clock was
/// ahead, and would hold everything up until this one's is as far.
fn is_within(at: SystemTime, now: SystemTime, length: Duration) -> bool {
    now < at + length && at <= now + length
}

pub(super) fn is_up(task: &Task) -> bool {
    observed(task) == TaskState::Running as i32
}

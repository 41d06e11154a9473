//! How often each slot was restarted, for policies that allow only so many restarts.
//!
//! Counted per specification version, and per iteration of a job: an update starts anew, and so does a schedule's tick. Rebuilt from the recorded tasks after a change of leader,
//! which is why the reaper keeps one task more than a policy's attempts.
//! Mirrors `instanceRestartInfo` of SwarmKit's `manager/orchestrator/restart` and the package `taskinit`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{RestartPolicy, Service, Task, TaskState, Version};
use swarm_store::Tables;

use crate::defaults::{restart_condition, restart_policy};
use crate::slot::SlotKey;
use crate::task::{created_at, ended_at, mode, observed};

/// A job's iteration, and the version of the specification: what restarts are counted anew for.
type Generation = (u64, u64);

/// The restarts of every slot whose policy limits them.
#[derive(Debug, Default)]
pub(crate) struct History {
    slots: BTreeMap<SlotKey, Restarts>,
}

#[derive(Debug, Default)]
struct Restarts {
    generation: Generation,
    total: u64,
    /// When they happened; kept only where the policy has a window, and only as far back as it reaches.
    times: Vec<SystemTime>,
}

impl History {
    /// Rebuilds the history: in each slot, every task of the newest specification but the first was a restart.
    pub(crate) fn rebuild(tables: &Tables) -> Self {
        let mut slots: BTreeMap<SlotKey, Vec<&Task>> = BTreeMap::new();
        for task in tables.iter::<Task>().filter(|task| attempts_max(task) > 0) {
            slots.entry(SlotKey::find(tables, task)).or_default().push(task);
        }
        let mut history = Self::default();
        for (slot, mut tasks) in slots {
            let newest = tasks.iter().map(|task| generation(task)).max().unwrap_or_default();
            // What was moved was not restarted.
            tasks.retain(|task| generation(task) == newest && task.moved.is_none());
            tasks.sort_by_key(|task| created_at(task));
            for task in tasks.into_iter().skip(1) {
                history.record(created_at(task), &slot, task);
            }
        }
        history
    }

    /// Notes that `replacement` took `slot` over at `at`.
    pub(crate) fn record(&mut self, at: SystemTime, slot: &SlotKey, replacement: &Task) {
        if attempts_max(replacement) == 0 {
            return;
        }
        let restarts = self.slots.entry(slot.clone()).or_default();
        if restarts.generation.0 > generation(replacement).0 {
            return;
        }
        if restarts.generation != generation(replacement) {
            *restarts = Restarts { generation: generation(replacement), ..Restarts::default() };
        }
        restarts.total += 1;
        if let Some(window) = window(replacement) {
            restarts.times.retain(|time| is_within(*time, at, window));
            restarts.times.push(at);
        }
    }

    /// Forgets a service that is gone.
    pub(crate) fn forget_service(&mut self, service_id: &str) {
        self.slots.retain(|slot, _| slot.service_id != service_id);
    }

    /// Whether `task`, which ended, is to be replaced under its restart policy.
    pub(crate) fn should_restart(&self, task: &Task, service: &Service) -> bool {
        let complete = observed(task) == TaskState::Complete as i32;
        let is_job = matches!(mode(service), Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
        let allowed = match restart_condition(task) {
            // A job that completed is done, whatever its policy.
            RestartCondition::Any => !(is_job && complete),
            RestartCondition::OnFailure => !complete,
            RestartCondition::None => false,
        };
        allowed && (attempts_max(task) == 0 || self.count(task, service) < attempts_max(task))
    }

    /// How many restarts of the task's slot count against it.
    fn count(&self, task: &Task, service: &Service) -> u64 {
        let Some(restarts) = self.slots.get(&SlotKey::of(service, task)) else { return 0 };
        if generation(task).0 < restarts.generation.0 {
            // What is left of an older iteration, beside the one that counts now.
            return u64::MAX;
        }
        if task.spec_version.is_some() && generation(task) != restarts.generation {
            return 0;
        }
        let (Some(window), Some(ended)) = (window(task), ended_at(task)) else {
            return restarts.total;
        };
        // Restarts after the task in question ended are not its own.
        restarts
            .times
            .iter()
            .filter(|time| **time < ended && is_within(**time, ended, window))
            .count() as u64
    }
}

fn is_within(time: SystemTime, end: SystemTime, window: Duration) -> bool {
    end.duration_since(time).is_ok_and(|age| age < window)
}

fn attempts_max(task: &Task) -> u64 {
    restart_policy(task).map_or(0, |policy: &RestartPolicy| policy.max_attempts)
}

fn window(task: &Task) -> Option<Duration> {
    let window = to_duration(restart_policy(task)?.window.as_ref()?);
    (!window.is_zero()).then_some(window)
}

fn generation(task: &Task) -> Generation {
    let index = |version: Option<&Version>| version.map_or(0, |version| version.index);
    (index(task.job_iteration.as_ref()), index(task.spec_version.as_ref()))
}

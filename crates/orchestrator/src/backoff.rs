//! How long the restarts of a slot are delayed that fails again and again, where its service asks for that.
//!
//! ```text
//! failures in a row   1      2       3       4    …
//! delay               d     2·d     4·d     8·d   …, at most the longest; a second at least from the second on
//! ```
//!
//! How often a slot failed in a row is on its newest task, so that it counts neither on the leader's memory nor on how
//! many dead tasks are kept. An update makes new tasks that failed never. A task that ran for long enough before it
//! ended starts the count anew.

use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::{from_system_time, to_duration, to_system_time};
use swarm_proto::v1::{RestartBackoff, Service, Task, TaskState};

use crate::defaults::{restart_delay, restart_policy};
use crate::options::backoff::longest;
use crate::task::{created_at, ended_at, observed};

/// How long a task must have run for its failure to be the first again, unless its restart policy has a window.
const STABLE: Duration = Duration::from_secs(10 * 60);
/// The second delay is so long at least: twice nothing is nothing.
const SECOND_MIN: Duration = Duration::from_secs(1);

/// How long the replacement of a task that ended waits, and after how many failures in a row; none where its service
/// doesn't ask for growing delays.
pub(crate) fn after(service: &Service, task: &Task) -> Option<(Duration, u64)> {
    let longest = longest(service)?;
    let failures = if was_stable(task) { 1 } else { failures_before(task).saturating_add(1) };
    Some((delay(restart_delay(task), longest, failures), failures))
}

/// What a replacement carries that may start at `until`; nothing without failures.
pub(crate) fn mark(failures: u64, until: SystemTime) -> Option<Box<RestartBackoff>> {
    let until = Some(from_system_time(until));
    (failures > 0).then(|| Box::new(RestartBackoff { failures, until }))
}

/// How many failures in a row there were before this task.
pub(crate) fn failures_before(task: &Task) -> u64 {
    task.restart_backoff.as_ref().map_or(0, |backoff| backoff.failures)
}

/// When a task may start whose restart was delayed like this.
pub(crate) fn until(task: &Task) -> Option<SystemTime> {
    task.restart_backoff.as_ref()?.until.as_ref().map(to_system_time)
}

fn delay(first: Duration, longest: Duration, failures: u64) -> Duration {
    if failures <= 1 {
        return first.min(longest);
    }
    let doublings = u32::try_from(failures - 2).unwrap_or(u32::MAX);
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    first.saturating_mul(2).max(SECOND_MIN).saturating_mul(factor).min(longest)
}

/// Whether a task that ended ran for long before, counted from when it could have started at the earliest.
fn was_stable(task: &Task) -> bool {
    let policy = restart_policy(task).and_then(|policy| policy.window.as_ref());
    let stable = policy.map(to_duration).filter(|window| !window.is_zero()).unwrap_or(STABLE);
    let began = created_at(task).max(until(task).unwrap_or(SystemTime::UNIX_EPOCH));
    observed(task) != TaskState::Rejected as i32
        && ended_at(task)
            .and_then(|ended| ended.duration_since(began).ok())
            .is_some_and(|ran| ran >= stable)
}

#[cfg(test)]
mod tests {
    use swarm_proto::timestamp::from_duration;
    use swarm_proto::v1::{Meta, RestartPolicy, TaskSpec, TaskStatus};

    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let seconds = Duration::from_secs;
        for (first, longest, expect) in [
            (5, 300, [5, 10, 20, 40, 80, 160, 300, 300]),
            (0, 10, [0, 1, 2, 4, 8, 10, 10, 10]),
            (7, 7, [7; 8]),
        ] {
            let delays = (1..=8).map(|failures| delay(seconds(first), seconds(longest), failures));
            assert_eq!(delays.collect::<Vec<_>>(), expect.map(seconds));
        }
        assert_eq!(delay(seconds(5), seconds(300), u64::MAX), seconds(300));
        assert_eq!(delay(seconds(0), seconds(300), 0), seconds(0));
    }

    #[test]
    fn a_task_that_ran_for_long_starts_the_count_anew() {
        let at = |seconds| from_system_time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (until, ended, window, state, expect) in [
            (1040, 1041, 0, TaskState::Failed, false),
            (1040, 1639, 0, TaskState::Failed, false),
            (1040, 1640, 0, TaskState::Failed, true),
            (1040, 1640, 0, TaskState::Complete, true),
            (1040, 1640, 0, TaskState::Rejected, false),
            (1040, 1069, 30, TaskState::Failed, false),
            (1040, 1070, 30, TaskState::Failed, true),
            (0, 1030, 30, TaskState::Failed, true),
            (1040, 900, 30, TaskState::Failed, false),
        ] {
            let window = Some(from_duration(Duration::from_secs(window)));
            let restart = Some(RestartPolicy { window, ..RestartPolicy::default() });
            let task = Task {
                meta: Some(Meta { created_at: Some(at(1000)), ..Meta::default() }),
                spec: Some(TaskSpec { restart, ..TaskSpec::default() }.into()),
                status: Some(TaskStatus {
                    state: state as i32,
                    timestamp: Some(at(ended)),
                    ..TaskStatus::default()
                }),
                restart_backoff: Some(Box::new(RestartBackoff {
                    failures: 3,
                    until: Some(at(until)),
                })),
                ..Task::default()
            };
            assert_eq!(was_stable(&task), expect, "{until} {ended} {state:?}");
        }
    }
}

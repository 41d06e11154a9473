//! What a specification means where it says nothing. Mirrors SwarmKit's package `api/defaults`.

use std::time::Duration;

use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::{RestartPolicy, Service, Task, UpdateConfig};

/// How long a replacement waits before it starts.
pub(crate) const RESTART_DELAY: Duration = Duration::from_secs(5);
/// How long an updated task is watched for failing.
const UPDATE_MONITOR: Duration = Duration::from_secs(5);
/// How many dead tasks of a slot are kept where the cluster does not say.
pub(crate) const TASK_HISTORY_LIMIT: i64 = 5;

/// The restart policy of a task, if its specification has one.
pub(crate) fn restart_policy(task: &Task) -> Option<&RestartPolicy> {
    task.spec.as_ref()?.restart.as_ref()
}

/// When a task is to be replaced after it ended.
pub(crate) fn restart_condition(task: &Task) -> RestartCondition {
    restart_policy(task).map_or(RestartCondition::Any, RestartPolicy::condition)
}

/// How long the replacement of a task waits before it starts.
pub(crate) fn restart_delay(task: &Task) -> Duration {
    let delay = restart_policy(task).and_then(|policy| policy.delay.as_ref());
    delay.map_or(RESTART_DELAY, to_duration)
}

/// How an update, or a rollback, of a service proceeds.
pub(crate) fn update_config(service: &Service, rollback: bool) -> UpdateConfig {
    let spec = service.spec.as_ref();
    let config =
        spec.and_then(|spec| if rollback { spec.rollback.as_ref() } else { spec.update.as_ref() });
    config.cloned().unwrap_or(UpdateConfig { parallelism: 1, ..UpdateConfig::default() })
}

/// How long an updated task is watched for failing.
pub(crate) fn monitor(config: &UpdateConfig) -> Duration {
    config.monitor.as_ref().map_or(UPDATE_MONITOR, to_duration)
}

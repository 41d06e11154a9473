//! The values that stand for what a service's spec leaves out, for clients that want to show them.
//!
//! Mirrors SwarmKit's package `api/defaults`. Stored specs stay as they were given.

use prost_types::Duration;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::update_config::{FailureAction, UpdateOrder};
use swarm_proto::v1::{RestartPolicy, ServiceSpec, UpdateConfig};

const STOP_GRACE_PERIOD: Duration = Duration { seconds: 10, nanos: 0 };
const RESTART_DELAY: Duration = Duration { seconds: 5, nanos: 0 };
const UPDATE_MONITOR: Duration = Duration { seconds: 5, nanos: 0 };

/// Puts the defaults into whatever the spec leaves out.
pub(super) fn fill_in(spec: &mut ServiceSpec) {
    let task = spec.task.get_or_insert_default();
    if let Some(Runtime::Container(container)) = task.runtime.as_mut() {
        container.stop_grace_period.get_or_insert(STOP_GRACE_PERIOD);
        container.pull_options.get_or_insert_default();
        container.dns_config.get_or_insert_default();
    }
    task.resources.get_or_insert_default();
    let always = || RestartPolicy { condition: RestartCondition::Any.into(), ..Default::default() };
    task.restart.get_or_insert_with(always).delay.get_or_insert(RESTART_DELAY);
    task.placement.get_or_insert_default();
    for config in [&mut spec.update, &mut spec.rollback] {
        config.get_or_insert_with(one_by_one).monitor.get_or_insert(UPDATE_MONITOR);
    }
}

fn one_by_one() -> UpdateConfig {
    UpdateConfig {
        failure_action: FailureAction::Pause.into(),
        parallelism: 1,
        order: UpdateOrder::StopFirst.into(),
        ..UpdateConfig::default()
    }
}

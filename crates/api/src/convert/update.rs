//! How tasks are restarted, updated, rolled back and placed.

use swarm_proto::v1;
use swarm_proto::v1::placement_preference::Preference;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::update_config::{FailureAction, UpdateOrder};

use super::common::{duration, nanos};
use crate::error::ApiError;
use crate::wire;

pub(crate) fn restart_policy(json: &wire::RestartPolicy) -> Result<v1::RestartPolicy, ApiError> {
    let condition = match json.condition.as_str() {
        "none" => RestartCondition::None,
        "on-failure" => RestartCondition::OnFailure,
        "any" | "" => RestartCondition::Any,
        other => return Err(ApiError::invalid(format!("invalid RestartCondition: {other:?}"))),
    };
    Ok(v1::RestartPolicy {
        condition: condition.into(),
        delay: json.delay.map(duration),
        max_attempts: json.max_attempts.unwrap_or_default(),
        window: json.window.map(duration),
    })
}

pub(crate) fn restart_policy_json(policy: &v1::RestartPolicy) -> wire::RestartPolicy {
    let condition = match RestartCondition::try_from(policy.condition) {
        Ok(RestartCondition::None) => "none",
        Ok(RestartCondition::OnFailure) => "on-failure",
        Ok(RestartCondition::Any) | Err(_) => "any",
    };
    wire::RestartPolicy {
        condition: condition.to_owned(),
        delay: policy.delay.as_ref().map(|d| nanos(Some(d))),
        max_attempts: Some(policy.max_attempts),
        window: policy.window.as_ref().map(|d| nanos(Some(d))),
    }
}

pub(crate) fn update_config(json: &wire::UpdateConfig) -> Result<v1::UpdateConfig, ApiError> {
    let failure_action = match json.failure_action.as_str() {
        "pause" | "" => FailureAction::Pause,
        "continue" => FailureAction::Continue,
        "rollback" => FailureAction::Rollback,
        other => {
            return Err(ApiError::invalid(format!("unrecognized update failure action {other}")));
        }
    };
    let order = match json.order.as_str() {
        "stop-first" | "" => UpdateOrder::StopFirst,
        "start-first" => UpdateOrder::StartFirst,
        other => return Err(ApiError::invalid(format!("unrecognized update order {other}"))),
    };
    Ok(v1::UpdateConfig {
        parallelism: json.parallelism,
        delay: Some(duration(json.delay)),
        failure_action: failure_action.into(),
        monitor: (json.monitor != 0).then(|| duration(json.monitor)),
        max_failure_ratio: json.max_failure_ratio,
        order: order.into(),
    })
}

pub(crate) fn update_config_json(config: &v1::UpdateConfig) -> wire::UpdateConfig {
    let failure_action = match FailureAction::try_from(config.failure_action) {
        Ok(FailureAction::Pause) => "pause",
        Ok(FailureAction::Continue) => "continue",
        Ok(FailureAction::Rollback) => "rollback",
        Err(_) => "",
    };
    let order = match UpdateOrder::try_from(config.order) {
        Ok(UpdateOrder::StopFirst) => "stop-first",
        Ok(UpdateOrder::StartFirst) => "start-first",
        Err(_) => "",
    };
    wire::UpdateConfig {
        parallelism: config.parallelism,
        delay: nanos(config.delay.as_ref()),
        failure_action: failure_action.to_owned(),
        monitor: nanos(config.monitor.as_ref()),
        max_failure_ratio: config.max_failure_ratio,
        order: order.to_owned(),
    }
}

pub(crate) fn placement(json: &wire::Placement) -> Result<v1::Placement, ApiError> {
    let spread = |preference: &wire::Preference| {
        let Some(spread) = &preference.spread else {
            return Err(ApiError::invalid("invalid placement preference: only Spread is known"));
        };
        let over = v1::SpreadOver { spread_descriptor: spread.spread_descriptor.clone() };
        Ok(v1::PlacementPreference { preference: Some(Preference::Spread(over)) })
    };
    let platform = |p: &wire::Platform| v1::Platform {
        architecture: p.architecture.clone(),
        os: p.os.clone(),
    };
    Ok(v1::Placement {
        constraints: json.constraints.clone(),
        preferences: json.preferences.iter().map(spread).collect::<Result<_, _>>()?,
        platforms: json.platforms.iter().map(platform).collect(),
        max_replicas: json.max_replicas,
    })
}

pub(crate) fn placement_json(placement: &v1::Placement) -> wire::Placement {
    let spread = |preference: &v1::PlacementPreference| {
        let Some(Preference::Spread(over)) = &preference.preference else { return None };
        let spread = wire::Spread { spread_descriptor: over.spread_descriptor.clone() };
        Some(wire::Preference { spread: Some(spread) })
    };
    wire::Placement {
        constraints: placement.constraints.clone(),
        preferences: placement.preferences.iter().filter_map(spread).collect(),
        max_replicas: placement.max_replicas,
        platforms: placement.platforms.iter().map(platform_json).collect(),
    }
}

pub(crate) fn platform_json(platform: &v1::Platform) -> wire::Platform {
    wire::Platform { architecture: platform.architecture.clone(), os: platform.os.clone() }
}

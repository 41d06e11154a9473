//! What a container's spec must look like: image, mounts, health check, templates.

use std::collections::HashSet;

use swarm_proto::v1::{Annotations, ContainerSpec, HealthConfig, Mount};
use swarm_template::{Context, expand_container};
use tonic::Status;

use super::image_reference::is_image_reference;

const NANOS_PER_MILLISECOND: i32 = 1_000_000;

/// Checks a container as a task of the service would get it.
pub(super) fn check_container_spec(
    spec: &ContainerSpec,
    service: &Annotations,
) -> Result<(), Status> {
    let mut spec = spec.clone();
    expand_container(&mut spec, &of_some_task(service))
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    check_image(&spec.image)?;
    check_mounts(&spec.mounts)?;
    check_health(spec.healthcheck.as_ref())
}

/// What a template may come to; the service's own name and labels are known already.
fn of_some_task(service: &Annotations) -> Context {
    Context {
        service_id: "serviceid".to_owned(),
        service_name: service.name.clone(),
        service_labels: service.labels.clone().into_iter().collect(),
        node_id: "nodeid".to_owned(),
        node_hostname: "nodeHostname".to_owned(),
        os: "os".to_owned(),
        architecture: "architecture".to_owned(),
        task_id: String::new(),
        task_name: "taskname".to_owned(),
        task_slot: "1".to_owned(),
    }
}

fn check_image(image: &str) -> Result<(), Status> {
    if image.is_empty() {
        return Err(refused("image reference must be provided"));
    }
    if !is_image_reference(image) {
        return Err(refused(&format!("{image:?} is not a valid repository/tag")));
    }
    Ok(())
}

fn check_mounts(mounts: &[Mount]) -> Result<(), Status> {
    let mut seen = HashSet::new();
    match mounts.iter().find(|mount| !seen.insert(&mount.target)) {
        Some(twice) => Err(refused(&format!("duplicate mount point: {}", twice.target))),
        None => Ok(()),
    }
}

fn check_health(config: Option<&HealthConfig>) -> Result<(), Status> {
    let Some(config) = config else { return Ok(()) };
    for (what, duration) in [
        ("Interval", &config.interval),
        ("Timeout", &config.timeout),
        ("StartPeriod", &config.start_period),
        ("StartInterval", &config.start_interval),
    ] {
        if duration.as_ref().is_some_and(is_too_short) {
            return Err(refused(&format!("{what} in HealthConfig cannot be less than 1ms")));
        }
    }
    if config.retries < 0 {
        return Err(refused("Retries in HealthConfig cannot be negative"));
    }
    Ok(())
}

/// Zero stands for the default.
fn is_too_short(duration: &prost_types::Duration) -> bool {
    match (duration.seconds, duration.nanos) {
        (0, 0) => false,
        (0, nanos) => nanos < NANOS_PER_MILLISECOND,
        (seconds, _) => seconds < 0,
    }
}

fn refused(what: &str) -> Status {
    Status::invalid_argument(format!("ContainerSpec: {what}"))
}

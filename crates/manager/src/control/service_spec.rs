//! What a service's spec must look like, whatever the cluster's state.

use prost::Message as _;
use swarm_proto::v1::generic_resource::Resource;
use swarm_proto::v1::placement_preference::Preference;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{
    Annotations, GenericRuntimeSpec, Network, Placement, ResourceRequirements, Resources,
    RestartPolicy, ServiceSpec, TaskSpec, UpdateConfig,
};
use swarm_scheduler::{affinity, constraint};
use swarm_store::{Object as _, Tables};
use tonic::Status;

use super::container_spec::check_container_spec;
use super::endpoint_spec::check_endpoint_spec;
use super::names::check_dns_name;
use super::references::{check_config_references, check_secret_references};

/// A thousandth of a CPU.
const NANO_CPUS_MIN: i64 = 1_000_000;
const MEMORY_BYTES_MIN: i64 = 4 * 1024 * 1024;
const GENERIC_KIND_LENGTH_MIN: usize = 3;
/// SwarmKit's `store.MaxTransactionBytes`.
const SPEC_BYTES_MAX: usize = 1536 * 1024;

pub(super) fn check_service_spec(spec: &ServiceSpec) -> Result<(), Status> {
    check_size(spec)?;
    check_dns_name(spec.annotations.as_ref())?;
    let none = (TaskSpec::default(), Annotations::default());
    let annotations = spec.annotations.as_ref().unwrap_or(&none.1);
    check_task_spec(spec.task.as_deref().unwrap_or(&none.0), annotations)?;
    check_mode(spec)?;
    swarm_orchestrator::options::check(spec)
        .map_err(|refused| Status::invalid_argument(refused.to_string()))?;
    if is_job(spec) {
        if spec.update.is_some() {
            return Err(Status::invalid_argument("Jobs may not have an update config"));
        }
    } else {
        check_update(spec.update.as_ref())?;
    }
    check_endpoint_spec(spec.endpoint.as_ref())
}

/// Every task carries the specification, and every log entry the tasks that it changes.
fn check_size(spec: &ServiceSpec) -> Result<(), Status> {
    let bytes = spec.encoded_len();
    if bytes <= SPEC_BYTES_MAX {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "raft: raft message is too large and can't be sent: the specification has {bytes} bytes, of at most {SPEC_BYTES_MAX}"
    )))
}

/// Whether the service runs to completion instead of for ever.
pub(super) fn is_job(spec: &ServiceSpec) -> bool {
    matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)))
}

/// Services are published on the ingress network by their ports, never attached to it.
pub(super) fn check_networks(tables: &Tables, spec: &ServiceSpec) -> Result<(), Status> {
    for attachment in spec.task.iter().flat_map(|task| &task.networks) {
        let Some(network) = tables.get::<Network>(&attachment.target) else { continue };
        if network.name() == "host" && has_ports(spec) {
            return Err(Status::invalid_argument(
                "EndpointSpec: ports can't be published for the host network: \
                 there a task's ports are its node's own",
            ));
        }
        if network.spec.as_ref().is_some_and(|spec| spec.ingress) {
            return Err(Status::invalid_argument(format!(
                "Service cannot be explicitly attached to the ingress network {:?}",
                network.name()
            )));
        }
    }
    Ok(())
}

fn has_ports(spec: &ServiceSpec) -> bool {
    spec.endpoint.as_ref().is_some_and(|endpoint| !endpoint.ports.is_empty())
}

fn check_mode(spec: &ServiceSpec) -> Result<(), Status> {
    // A negative number that some client converted blindly would take the cluster down.
    let negative = |number: u64| number > i64::MAX as u64;
    let refused = match &spec.mode {
        Some(Mode::Replicated(mode)) if negative(mode.replicas) => {
            "Number of replicas must be non-negative"
        }
        Some(Mode::ReplicatedJob(mode)) if negative(mode.max_concurrent) => {
            "Maximum concurrent jobs must not be negative"
        }
        Some(Mode::ReplicatedJob(mode)) if negative(mode.total_completions) => {
            "Total completed jobs must not be negative"
        }
        None => "Unrecognized service mode",
        Some(_) => return Ok(()),
    };
    Err(Status::invalid_argument(refused))
}

fn check_task_spec(spec: &TaskSpec, service: &Annotations) -> Result<(), Status> {
    check_resource_requirements(spec.resources.as_ref())?;
    check_restart_policy(spec.restart.as_ref())?;
    check_placement(spec.placement.as_ref())?;
    if let Some(Runtime::Container(container)) = &spec.runtime {
        check_secret_references(container)?;
        check_config_references(container)?;
    }
    match &spec.runtime {
        None => Err(Status::invalid_argument("TaskSpec: missing runtime")),
        Some(Runtime::Container(container)) => check_container_spec(container, service),
        Some(Runtime::Generic(generic)) => check_generic(generic),
        Some(Runtime::Attachment(_)) => {
            Err(Status::unimplemented("RuntimeSpec: unimplemented runtime in service spec"))
        }
    }
}

fn check_resource_requirements(requirements: Option<&ResourceRequirements>) -> Result<(), Status> {
    let Some(requirements) = requirements else { return Ok(()) };
    check_resources(requirements.limits.as_ref())?;
    check_resources(requirements.reservations.as_ref())
}

fn check_resources(resources: Option<&Resources>) -> Result<(), Status> {
    let Some(resources) = resources else { return Ok(()) };
    if resources.nano_cpus != 0 && resources.nano_cpus < NANO_CPUS_MIN {
        return Err(Status::invalid_argument(format!(
            "invalid cpu value {}: Must be at least {}",
            go_float(resources.nano_cpus as f64 / 1e9),
            NANO_CPUS_MIN as f64 / 1e9
        )));
    }
    if resources.memory_bytes != 0 && resources.memory_bytes < MEMORY_BYTES_MIN {
        return Err(Status::invalid_argument(format!(
            "invalid memory value {}: Must be at least 4MiB",
            resources.memory_bytes
        )));
    }
    // A task asks for a number of pieces; SwarmKit takes a name, and then ignores the whole reservation.
    let by_name = resources.generic.iter().find_map(|generic| match &generic.resource {
        Some(Resource::NamedResourceSpec(named)) => Some(named.kind.as_str()),
        Some(Resource::DiscreteResourceSpec(_)) => None,
        None => Some(""),
    });
    match by_name {
        Some(kind) => {
            Err(Status::invalid_argument(format!("invalid argument for resource {kind}")))
        }
        None => Ok(()),
    }
}

/// A number as Go's `%g` prints it: with an exponent, of two digits at least, below 0.0001.
fn go_float(value: f64) -> String {
    if value == 0.0 || value.abs() >= 1e-4 {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.split_once("e-") {
        Some((mantissa, exponent)) => format!("{mantissa}e-{exponent:0>2}"),
        None => text,
    }
}

fn check_restart_policy(policy: Option<&RestartPolicy>) -> Result<(), Status> {
    let Some(policy) = policy else { return Ok(()) };
    check_not_negative(policy.delay.as_ref(), "TaskSpec: restart-delay")?;
    check_not_negative(policy.window.as_ref(), "TaskSpec: restart-window")
}

fn check_update(config: Option<&UpdateConfig>) -> Result<(), Status> {
    let Some(config) = config else { return Ok(()) };
    check_not_negative(config.delay.as_ref(), "TaskSpec: update-delay")?;
    check_not_negative(config.monitor.as_ref(), "TaskSpec: update-monitor")?;
    if !(0.0..=1.0).contains(&config.max_failure_ratio) {
        return Err(Status::invalid_argument(
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ));
    }
    Ok(())
}

fn check_not_negative(duration: Option<&prost_types::Duration>, what: &str) -> Result<(), Status> {
    match duration {
        Some(duration) if duration.seconds < 0 || duration.nanos < 0 => {
            Err(Status::invalid_argument(format!("{what} cannot be negative")))
        }
        _ => Ok(()),
    }
}

/// SwarmKit passes the parser's error on without a code of its own.
fn check_placement(placement: Option<&Placement>) -> Result<(), Status> {
    let Some(placement) = placement else { return Ok(()) };
    constraint::parse(&placement.constraints)
        .map_err(|error| Status::unknown(error.to_string()))?;
    let check = |kind: &str, condition: &String| {
        affinity::check(condition)
            .map_err(|error| Status::invalid_argument(format!("{kind}{condition}: {error}")))
    };
    placement.constraints.iter().try_for_each(|constraint| check("constraint ", constraint))?;
    let spreads = placement.preferences.iter().filter_map(|one| one.preference.as_ref());
    spreads.into_iter().try_for_each(|Preference::Spread(spread)| {
        check("placement preference spread=", &spread.spread_descriptor)
    })
}

fn check_generic(generic: &GenericRuntimeSpec) -> Result<(), Status> {
    let kind = &generic.kind;
    let refused = if kind.len() < GENERIC_KIND_LENGTH_MIN {
        format!("Generic runtime: Invalid name {kind:?}")
    } else if ["container", "attachment"].contains(&kind.to_lowercase().as_str()) {
        format!("Generic runtime: {kind:?} is a reserved name")
    } else {
        match &generic.payload {
            None => "Generic runtime is missing payload".to_owned(),
            Some(payload) if payload.type_url.is_empty() => {
                "Generic runtime is missing payload type".to_owned()
            }
            Some(payload) if payload.value.is_empty() => {
                "Generic runtime has an empty payload".to_owned()
            }
            Some(_) => return Ok(()),
        }
    };
    Err(Status::invalid_argument(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_has_a_largest_size() {
        for (bytes, fits) in
            [(0, true), (1_500_000, true), (SPEC_BYTES_MAX, false), (20_000_000, false)]
        {
            let labels = [("l".to_owned(), "x".repeat(bytes))].into();
            let annotations = Annotations { labels, ..Annotations::default() };
            let spec = ServiceSpec { annotations: Some(annotations), ..ServiceSpec::default() };
            let checked = check_size(&spec);
            assert_eq!(checked.is_ok(), fits, "{bytes}");
            let said = checked.err().map(|status| status.message().to_owned()).unwrap_or_default();
            assert!(fits || said.starts_with("raft: raft message is too large"), "{said}");
        }
    }
}

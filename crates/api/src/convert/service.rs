//! Services: their specification both ways, and what the cluster knows of them.

use swarm_proto::v1;
use swarm_proto::v1::endpoint_spec::ResolutionMode;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::update_status::UpdateState;

use super::common::{driver, meta, set_time_json, time_json, version_json};
use super::names::random_name;
use super::network::{attachment, endpoint_json, endpoint_spec_json, port};
use super::{container, resources, task, update};
use crate::error::ApiError;
use crate::wire;

/// The service specification that a client's JSON asks for; a nameless one gets a random name.
pub(crate) fn service_spec(json: &wire::ServiceSpec) -> Result<v1::ServiceSpec, ApiError> {
    let name = if json.name.is_empty() { random_name() } else { json.name.clone() };
    Ok(v1::ServiceSpec {
        annotations: Some(v1::Annotations {
            name,
            labels: json.labels.clone(),
            indices: Vec::new(),
        }),
        task: Some(task_spec(&json.task_template)?.into()),
        mode: Some(mode(&json.mode)?),
        update: json.update_config.as_ref().map(update::update_config).transpose()?,
        rollback: json.rollback_config.as_ref().map(update::update_config).transpose()?,
        endpoint: json.endpoint_spec.as_ref().map(endpoint_spec).transpose()?,
        ..Default::default()
    })
}

fn task_spec(json: &wire::TaskSpec) -> Result<v1::TaskSpec, ApiError> {
    match json.runtime.as_str() {
        "" | "container" => {}
        "plugin" => {
            return Err(ApiError::not_implemented(
                "services of the runtime \"plugin\" are not supported",
            ));
        }
        _ => return Err(ApiError::invalid("unsupported runtime")),
    }
    let Some(container_spec) = &json.container_spec else {
        return Err(ApiError::invalid("mismatched Runtime and *Spec fields"));
    };
    let mut container = container::container(container_spec)?;
    let limits = json.resources.as_ref().and_then(|r| r.limits.as_ref());
    container.pids_limit = limits.map_or(0, |l| l.pids);
    Ok(v1::TaskSpec {
        runtime: Some(Runtime::Container(container)),
        resources: json.resources.as_ref().map(resources::requirements).transpose()?,
        restart: json.restart_policy.as_ref().map(update::restart_policy).transpose()?,
        placement: json.placement.as_ref().map(update::placement).transpose()?,
        log_driver: json.log_driver.as_ref().map(driver),
        networks: json.networks.iter().map(attachment).collect(),
        force_update: json.force_update,
        resource_references: Vec::new(),
    })
}

fn mode(json: &wire::Mode) -> Result<Mode, ApiError> {
    let given = [
        json.global.is_some(),
        json.replicated.is_some(),
        json.replicated_job.is_some(),
        json.global_job.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err(ApiError::invalid("must specify only one service mode"));
    }
    if json.global.is_some() {
        return Ok(Mode::Global(v1::GlobalService {}));
    }
    if json.global_job.is_some() {
        return Ok(Mode::GlobalJob(v1::GlobalJob {}));
    }
    if let Some(job) = &json.replicated_job {
        let max_concurrent = job.max_concurrent.unwrap_or(1);
        let total_completions = job.total_completions.unwrap_or(max_concurrent);
        return Ok(Mode::ReplicatedJob(v1::ReplicatedJob { max_concurrent, total_completions }));
    }
    let replicas = json.replicated.as_ref().and_then(|r| r.replicas).unwrap_or(1);
    Ok(Mode::Replicated(v1::ReplicatedService { replicas }))
}

fn endpoint_spec(json: &wire::EndpointSpec) -> Result<v1::EndpointSpec, ApiError> {
    let mode = match json.mode.as_str() {
        "" | "vip" => ResolutionMode::Vip,
        "dnsrr" => ResolutionMode::Dnsrr,
        other => return Err(ApiError::invalid(format!("invalid resolution mode: {other:?}"))),
    };
    Ok(v1::EndpointSpec {
        mode: mode.into(),
        ports: json.ports.iter().map(port).collect::<Result<_, _>>()?,
    })
}

/// A service as clients see it.
pub(crate) fn service_json(service: &v1::Service) -> Result<wire::Service, ApiError> {
    let meta = meta(service.meta.as_ref());
    Ok(wire::Service {
        id: service.id.clone(),
        version: meta.version,
        created_at: meta.created_at,
        updated_at: meta.updated_at,
        spec: service.spec.as_ref().map(service_spec_json).transpose()?.unwrap_or_default(),
        previous_spec: service.previous_spec.as_ref().map(service_spec_json).transpose()?,
        endpoint: service.endpoint.as_ref().map(endpoint_json).unwrap_or_default(),
        update_status: service.update_status.as_ref().map(update_status_json).or_else(|| {
            let cron = service.job_status.as_ref()?.cron.as_ref()?;
            Some(wire::UpdateStatus { message: ticks(cron)?, ..Default::default() })
        }),
        service_status: None,
        job_status: service.job_status.as_ref().map(job_status_json),
    })
}

/// Where a job stands in its schedule, as the one text of a service that the CLI shows and no user sets.
fn ticks(cron: &v1::CronStatus) -> Option<String> {
    let named = [
        ("last tick", &cron.last_tick),
        ("last skipped tick", &cron.last_skipped),
        ("next tick", &cron.next_tick),
    ];
    let ticks: Vec<String> = named
        .iter()
        .filter_map(|(name, at)| Some(format!("{name} {}", time_json(Some(at.as_ref()?)))))
        .collect();
    (!ticks.is_empty()).then(|| ticks.join(", "))
}

fn job_status_json(job: &v1::JobStatus) -> wire::JobStatus {
    let none = v1::CronStatus::default();
    let cron = job.cron.as_ref().unwrap_or(&none);
    let tick = |at: &Option<_>| at.as_ref().map(|at| time_json(Some(at)));
    wire::JobStatus {
        job_iteration: version_json(job.job_iteration.as_ref()),
        last_execution: time_json(job.last_execution.as_ref()),
        last_tick: tick(&cron.last_tick),
        last_skipped_tick: tick(&cron.last_skipped),
        next_tick: tick(&cron.next_tick),
    }
}

fn service_spec_json(spec: &v1::ServiceSpec) -> Result<wire::ServiceSpec, ApiError> {
    let annotations = spec.annotations.clone().unwrap_or_default();
    let mut task_template = spec.task.as_deref().map(task::task_spec_json).unwrap_or_default();
    if task_template.runtime.is_empty() && task_template.container_spec.is_some() {
        task_template.runtime = "container".to_owned();
    }
    Ok(wire::ServiceSpec {
        name: annotations.name,
        labels: annotations.labels,
        task_template,
        mode: spec.mode.as_ref().map(mode_json).unwrap_or_default(),
        update_config: spec.update.as_ref().map(update::update_config_json),
        rollback_config: spec.rollback.as_ref().map(update::update_config_json),
        networks: Vec::new(),
        endpoint_spec: spec.endpoint.as_ref().map(endpoint_spec_json),
    })
}

fn mode_json(mode: &Mode) -> wire::Mode {
    let mut json = wire::Mode::default();
    match mode {
        Mode::Replicated(r) => {
            json.replicated = Some(wire::Replicated { replicas: Some(r.replicas) })
        }
        Mode::Global(_) => json.global = Some(wire::Empty {}),
        Mode::ReplicatedJob(job) => {
            json.replicated_job = Some(wire::ReplicatedJob {
                max_concurrent: Some(job.max_concurrent),
                total_completions: Some(job.total_completions),
            });
        }
        Mode::GlobalJob(_) => json.global_job = Some(wire::Empty {}),
    }
    json
}

fn update_status_json(status: &v1::UpdateStatus) -> wire::UpdateStatus {
    let state = match UpdateState::try_from(status.state) {
        Ok(UpdateState::Unknown) | Err(_) => String::new(),
        Ok(state) => state.as_str_name().to_lowercase(),
    };
    wire::UpdateStatus {
        state,
        started_at: set_time_json(status.started_at.as_ref()),
        completed_at: set_time_json(status.completed_at.as_ref()),
        message: status.message.clone(),
    }
}

/// The name of a mode in the filter `mode`.
pub(crate) fn mode_name(service: &v1::Service) -> &'static str {
    match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Global(_)) => "global",
        Some(Mode::ReplicatedJob(_)) => "replicated-job",
        Some(Mode::GlobalJob(_)) => "global-job",
        Some(Mode::Replicated(_)) | None => "replicated",
    }
}

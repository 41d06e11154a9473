//! Answers about services.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use swarm_proto::v1;
use swarm_proto::v1::container_spec::PullOptions;
use swarm_proto::v1::list_services_request::Filters as ListFilters;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::update_service_request::Rollback;

use super::logs::{cluster_logs, read_cluster_logs};
use super::{networks, pin, unsupported, versions};
use crate::control::{self, Control, expected};
use crate::convert::service;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::logs::{Layout, respond};
use crate::http::params::Params;
use crate::http::registry_auth;
use crate::http::version::ApiVersion;
use crate::state::ApiState;
use crate::wire;

const FILTERS: [&str; 5] = ["name", "id", "label", "mode", "runtime"];
/// Clients of older versions leave the digest to the daemon.
const CLIENT_PINS_SINCE: ApiVersion = ApiVersion(1, 30);

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
    version: ApiVersion,
) -> Result<Json<Vec<wire::Service>>, ApiError> {
    let filters = params.filters(&FILTERS)?;
    let with_status = version >= ApiVersion(1, 41) && params.strict_flag("status")?;
    let control = state.control()?;
    let request = ListFilters {
        name_prefixes: filters.list("name"),
        id_prefixes: filters.list("id"),
        labels: filters.pairs("label"),
        runtimes: match filters.get("runtime") {
            [] => vec!["container".to_owned()],
            runtimes => runtimes.to_vec(),
        },
        ..Default::default()
    };
    let mut services =
        control.list_services(v1::ListServicesRequest { filters: Some(request) }).await?.services;
    services.retain(|service| filters.allows("mode", service::mode_name(service)));
    let mut statuses = match with_status {
        true => {
            statuses(&control, services.iter().map(|service| service.id.clone()).collect()).await?
        }
        false => HashMap::new(),
    };
    let json = services.iter().map(|service| {
        let mut json = service::service_json(service)?;
        json.service_status = statuses.remove(&service.id);
        Ok(json)
    });
    Ok(Json(json.collect::<Result<_, ApiError>>()?))
}

async fn statuses(
    control: &Control,
    services: Vec<String>,
) -> Result<HashMap<String, wire::ServiceStatus>, ApiError> {
    let answer = control.list_service_statuses(v1::ListServiceStatusesRequest { services }).await?;
    let status = |s: v1::list_service_statuses_response::ServiceStatus| {
        let json = wire::ServiceStatus {
            running_tasks: s.running_tasks,
            desired_tasks: s.desired_tasks,
            completed_tasks: s.completed_tasks,
        };
        (s.service_id, json)
    };
    Ok(answer.statuses.into_iter().map(status).collect())
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<wire::Service>, ApiError> {
    let insert_defaults = params.strict_flag("insertDefaults")?;
    let control = state.control()?;
    let mut found = control.find_service(&id).await?;
    if insert_defaults {
        let request = v1::GetServiceRequest { service_id: found.id, insert_defaults };
        found = expected(control.get_service(request).await?.service, "service")?;
    }
    Ok(Json(service::service_json(&found)?))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    version: ApiVersion,
    headers: HeaderMap,
    JsonBody(mut body): JsonBody<wire::ServiceSpec>,
) -> Result<(StatusCode, Json<wire::ServiceCreated>), ApiError> {
    versions::adjust(&mut body, version);
    let control = state.control()?;
    networks::resolve(&state, &control, &mut body).await?;
    let mut spec = service::service_spec(&body)?;
    unsupported::check(&spec)?;
    let encoded_auth = registry_auth::encoded(&headers);
    let mut warnings = Vec::new();
    if let Some(container) = container_of(&mut spec) {
        if !encoded_auth.is_empty() {
            container.pull_options = Some(PullOptions { registry_auth: encoded_auth.clone() });
        }
        if version < CLIENT_PINS_SINCE {
            warnings = pin_image(&state, container, &encoded_auth).await;
        }
    }
    let answer = control.create_service(v1::CreateServiceRequest { spec: Some(spec) }).await?;
    let id = expected(answer.service, "service")?.id;
    Ok((StatusCode::CREATED, Json(wire::ServiceCreated { id, warnings })))
}

fn container_of(spec: &mut v1::ServiceSpec) -> Option<&mut v1::ContainerSpec> {
    match spec.task.as_mut()?.runtime.as_mut()? {
        Runtime::Container(container) => Some(container),
        _ => None,
    }
}

async fn pin_image(
    state: &ApiState,
    container: &mut v1::ContainerSpec,
    encoded_auth: &str,
) -> Vec<String> {
    match pin::pin(state, &container.image, encoded_auth).await {
        Ok(image) => {
            container.image = image;
            Vec::new()
        }
        Err(warning) => vec![warning],
    }
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    version: ApiVersion,
    headers: HeaderMap,
    JsonBody(mut body): JsonBody<wire::ServiceSpec>,
) -> Result<Json<wire::ServiceUpdated>, ApiError> {
    let index = params.version("service")?;
    let rollback = rollback(params.get("rollback"))?;
    versions::adjust(&mut body, version);
    let control = state.control()?;
    networks::resolve(&state, &control, &mut body).await?;
    let mut spec = service::service_spec(&body)?;
    unsupported::check(&spec)?;
    let mut current = control.find_service(&id).await?;
    let mut warnings = Vec::new();
    if let Some(container) = container_of(&mut spec) {
        let encoded_auth = registry_auth::encoded(&headers);
        container.pull_options = match encoded_auth.is_empty() {
            true => kept_pull_options(params.get("registryAuthFrom"), &mut current)?,
            false => Some(PullOptions { registry_auth: encoded_auth }),
        };
        if version < CLIENT_PINS_SINCE {
            let encoded_auth = container.pull_options.as_ref().map(|o| o.registry_auth.clone());
            warnings = pin_image(&state, container, &encoded_auth.unwrap_or_default()).await;
        }
    }
    let request = v1::UpdateServiceRequest {
        service_id: current.id,
        service_version: control::version(index),
        spec: Some(spec),
        rollback: rollback.into(),
    };
    control.update_service(request).await?;
    Ok(Json(wire::ServiceUpdated { warnings: (!warnings.is_empty()).then_some(warnings) }))
}

fn rollback(name: &str) -> Result<Rollback, ApiError> {
    match name {
        "" | "none" => Ok(Rollback::None),
        "previous" => Ok(Rollback::Previous),
        other => Err(ApiError::invalid(format!("unrecognized rollback option {other}"))),
    }
}

/// An update without credentials keeps those that the service has, or had before.
fn kept_pull_options(
    from: &str,
    current: &mut v1::Service,
) -> Result<Option<PullOptions>, ApiError> {
    let spec = match from {
        "" | "spec" => current.spec.as_mut(),
        "previous-spec" => match current.previous_spec.as_mut() {
            Some(spec) => Some(spec),
            None => return Err(ApiError::invalid("service does not have a previous spec")),
        },
        other => return Err(ApiError::invalid(format!("invalid registryAuthFrom '{other}'"))),
    };
    match spec.and_then(container_of) {
        Some(container) => Ok(container.pull_options.take()),
        None => Err(ApiError::invalid("service does not use container tasks")),
    }
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<(), ApiError> {
    let control = state.control()?;
    let service_id = control.find_service(&id).await?.id;
    control.remove_service(v1::RemoveServiceRequest { service_id }).await.map(drop)
}

pub(super) async fn logs(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    version: ApiVersion,
) -> Result<Response, ApiError> {
    let options = read_cluster_logs(&params)?;
    let mut service = state.control()?.find_service(&id).await?;
    let Some(tty) = service.spec.as_mut().and_then(container_of).map(|container| container.tty)
    else {
        return Err(ApiError::invalid("logs only supported on container tasks"));
    };
    let selector = v1::LogSelector { service_ids: vec![service.id], ..Default::default() };
    let lines = cluster_logs(&state, selector, options).await?;
    Ok(respond(lines, Layout::of(&params, tty), version))
}

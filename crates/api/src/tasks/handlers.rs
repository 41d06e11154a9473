//! Answers about tasks.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use swarm_proto::v1;
use swarm_proto::v1::TaskState;
use swarm_proto::v1::list_tasks_request::Filters as ListFilters;
use swarm_proto::v1::task_spec::Runtime;

use crate::control::Control;
use crate::convert::task;
use crate::error::{ApiError, Class};
use crate::http::filters::Filters;
use crate::http::logs::{Layout, respond};
use crate::http::params::Params;
use crate::http::version::ApiVersion;
use crate::services::logs::{cluster_logs, read_cluster_logs};
use crate::state::ApiState;
use crate::wire;

const FILTERS: [&str; 8] =
    ["name", "id", "label", "service", "node", "desired-state", "_up-to-date", "runtime"];

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Vec<wire::Task>>, ApiError> {
    let filters = params.filters(&FILTERS)?;
    let control = state.control()?;
    let filters = list_filters(&control, &filters).await?;
    let answer = control.list_tasks(v1::ListTasksRequest { filters: Some(filters) }).await?;
    Ok(Json(answer.tasks.iter().map(task::task_json).collect()))
}

/// Services and nodes may be given by name; the control service wants their IDs.
async fn list_filters(control: &Control, filters: &Filters) -> Result<ListFilters, ApiError> {
    let mut request = ListFilters {
        name_prefixes: filters.list("name"),
        id_prefixes: filters.list("id"),
        labels: filters.pairs("label"),
        up_to_date: !filters.get("_up-to-date").is_empty(),
        runtimes: match filters.get("runtime") {
            [] => vec!["container".to_owned()],
            runtimes => runtimes.to_vec(),
        },
        ..Default::default()
    };
    for name in filters.get("desired-state").iter().filter(|name| !name.is_empty()) {
        let state = TaskState::from_str_name(&name.to_uppercase());
        let state = state
            .ok_or_else(|| ApiError::invalid(format!("Invalid desired-state filter: '{name}'")))?;
        request.desired_states.push(state.into());
    }
    for service in filters.get("service") {
        request.service_ids.push(match control.find_service(service).await {
            Ok(service) => service.id,
            // The service may be gone while its tasks are still there under its ID.
            Err(error) if error.class == Class::NotFound => service.clone(),
            Err(error) => return Err(error),
        });
    }
    for node in filters.get("node") {
        request.node_ids.push(control.find_node(node).await?.id);
    }
    Ok(request)
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<wire::Task>, ApiError> {
    Ok(Json(task::task_json(&state.control()?.find_task(&id).await?)))
}

pub(super) async fn logs(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    version: ApiVersion,
) -> Result<Response, ApiError> {
    let options = read_cluster_logs(&params)?;
    let task = state.control()?.find_task(&id).await?;
    let runtime = task.spec.as_ref().and_then(|spec| spec.runtime.as_ref());
    let Some(Runtime::Container(container)) = runtime else {
        return Err(ApiError::invalid("logs only supported on container tasks"));
    };
    let tty = container.tty;
    let selector = v1::LogSelector { task_ids: vec![task.id], ..Default::default() };
    let lines = cluster_logs(&state, selector, options).await?;
    Ok(respond(lines, Layout::of(&params, tty), version))
}

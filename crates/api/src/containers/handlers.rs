//! Answers about containers.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use bollard_stubs::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerInspectResponse, ContainerPruneResponse,
    ContainerSummary,
};
use http::{StatusCode, Uri};
use serde_json::Value;

use crate::engine_backend::{ListContainers, WaitUntil};
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::logs::{Layout, read_logs, respond};
use crate::http::params::Params;
use crate::http::stream::{json_line, streaming};
use crate::http::version::ApiVersion;
use crate::state::ApiState;

const LIST_FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Vec<ContainerSummary>>, ApiError> {
    let limit: Option<i64> = params.number("limit")?;
    let options = ListContainers {
        all: params.flag("all"),
        limit: limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0),
        size: params.flag("size"),
        filters: params.filters(&LIST_FILTERS)?,
    };
    state.engine.list_containers(options).await.map(Json)
}

pub(super) async fn create(
    State(state): State<ApiState>,
    params: Params,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<ContainerCreateResponse>), ApiError> {
    if body.is_null() {
        return Err(ApiError::invalid("config cannot be empty in order to create a container"));
    }
    let body = create_body(body)?;
    let created = state.engine.create_container(params.optional("name"), body).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// A command may be written as one string, which is a list of one.
fn create_body(mut body: Value) -> Result<ContainerCreateBody, ApiError> {
    for key in ["Cmd", "Entrypoint", "Shell"] {
        if let Some(value) = body.get_mut(key)
            && value.is_string()
        {
            *value = Value::Array(vec![value.take()]);
        }
    }
    serde_json::from_value(body)
        .map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<ContainerInspectResponse>, ApiError> {
    state.engine.inspect_container(&id, params.flag("size")).await.map(Json)
}

pub(super) async fn start(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.engine.start_container(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn stop(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    state.engine.stop_container(&id, params.optional("signal"), params.number("t")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn restart(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    state.engine.restart_container(&id, params.optional("signal"), params.number("t")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn kill(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    state.engine.kill_container(&id, params.optional("signal")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The head goes out once the container is found, so that a client may start it then; the body follows its exit.
pub(super) async fn wait(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let until = match params.get("condition") {
        "" | "not-running" => WaitUntil::NotRunning,
        "next-exit" => WaitUntil::NextExit,
        "removed" => WaitUntil::Removed,
        other => return Err(ApiError::invalid(format!("invalid condition: {other:?}"))),
    };
    let exit = state.engine.wait_container(&id, until).await?;
    let body = futures::stream::once(async move { exit.await.map(|exit| json_line(&exit)) });
    Ok(streaming("application/json", body))
}

pub(super) async fn rename(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    if params.get("name").is_empty() {
        return Err(ApiError::invalid("Neither old nor new names may be empty"));
    }
    state.engine.rename_container(&id, params.get("name")).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    if params.flag("link") {
        return Err(ApiError::not_implemented(
            "links between containers are not supported by this daemon",
        ));
    }
    state.engine.remove_container(&id, params.flag("force"), params.flag("v")).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn logs(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    version: ApiVersion,
) -> Result<Response, ApiError> {
    let options = read_logs(&params)?;
    let container = state.engine.inspect_container(&id, false).await?;
    let tty = container.config.and_then(|config| config.tty).unwrap_or_default();
    let lines = state.engine.container_logs(&id, options).await?;
    Ok(respond(lines, Layout::of(&params, tty), version))
}

pub(super) async fn prune(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<ContainerPruneResponse>, ApiError> {
    state.engine.prune_containers(params.filters(&PRUNE_FILTERS)?).await.map(Json)
}

pub(super) async fn unsupported(uri: Uri) -> ApiError {
    let verb = uri.path().splitn(4, '/').nth(3).unwrap_or_default();
    ApiError::not_implemented(format!("{verb} of containers is not supported by this daemon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_may_be_strings() {
        let body = create_body(
            serde_json::json!({ "Image": "a", "Cmd": "ls", "Entrypoint": ["sh", "-c"] }),
        );
        let body = body.expect("valid");
        assert_eq!(body.cmd, Some(vec!["ls".to_owned()]));
        assert_eq!(body.entrypoint, Some(vec!["sh".to_owned(), "-c".to_owned()]));
        assert!(create_body(serde_json::json!({ "Image": 5 })).is_err());
    }
}

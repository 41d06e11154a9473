//! Answers about the daemon itself.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, response::AppendHeaders};
use bollard_stubs::models::AuthConfig;
use futures::StreamExt;
use http::{Method, Uri};
use serde_json::{Value, json};

use super::{cluster_info, filter, usage};
use crate::cluster::{ClusterStatus, LocalState};
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::logs::time_param;
use crate::http::params::Params;
use crate::http::stream::json_lines;
use crate::http::version::{ApiVersion, MAX_VERSION, MIN_VERSION};
use crate::state::ApiState;

pub(super) async fn ping(State(state): State<ApiState>, method: Method) -> Response {
    let headers = AppendHeaders([
        ("Cache-Control", "no-cache, no-store, must-revalidate".to_owned()),
        ("Pragma", "no-cache".to_owned()),
        ("Swarm", swarm_header(&state.cluster.status())),
        ("Content-Type", "text/plain; charset=utf-8".to_owned()),
    ]);
    let body = if method == Method::HEAD { "" } else { "OK" };
    (headers, body).into_response()
}

/// `active/manager` or `active/worker` for members, the bare state for others.
fn swarm_header(status: &ClusterStatus) -> String {
    let role = if status.control_available { "manager" } else { "worker" };
    match status.state {
        LocalState::Active => format!("active/{role}"),
        state => state.as_str().to_owned(),
    }
}

pub(super) async fn version(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    let info = state.engine.info().await?;
    let daemon = &state.daemon;
    let kernel = info.kernel_version.unwrap_or_default();
    let arch = go_arch(info.architecture.as_deref().unwrap_or(std::env::consts::ARCH));
    Ok(Json(json!({
        "Platform": { "Name": "swarm" },
        "Components": [{
            "Name": "Engine",
            "Version": daemon.server_version,
            "Details": {
                "ApiVersion": MAX_VERSION.to_string(),
                "Arch": arch,
                "BuildTime": daemon.build_time,
                "Experimental": "false",
                "GitCommit": daemon.git_commit,
                "GoVersion": "none",
                "KernelVersion": kernel,
                "MinAPIVersion": MIN_VERSION.to_string(),
                "Os": "linux",
            },
        }],
        "Version": daemon.server_version,
        "ApiVersion": MAX_VERSION.to_string(),
        "MinAPIVersion": MIN_VERSION.to_string(),
        "GitCommit": daemon.git_commit,
        "GoVersion": "none",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": kernel,
        "BuildTime": daemon.build_time,
    })))
}

/// Go's name of an architecture, which clients expect here.
fn go_arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(super) async fn info(
    State(state): State<ApiState>,
    version: ApiVersion,
) -> Result<Json<Value>, ApiError> {
    let (engine, swarm) = tokio::join!(state.engine.info(), cluster_info::swarm_info(&state));
    let mut info = serde_json::to_value(engine?).map_err(|e| ApiError::system(e.to_string()))?;
    let swarm_warnings = swarm.warnings.clone();
    let swarm = serde_json::to_value(swarm).map_err(|e| ApiError::system(e.to_string()))?;
    let Some(map) = info.as_object_mut() else {
        return Err(ApiError::system("the engine's description is not an object"));
    };
    map.insert("Swarm".to_owned(), swarm);
    map.entry("ServerVersion").or_insert_with(|| json!(state.daemon.server_version));
    add_warnings(map.entry("Warnings").or_insert(Value::Null), &state.daemon.warnings);
    add_warnings(map.entry("Warnings").or_insert(Value::Null), &swarm_warnings);
    if version < ApiVersion(1, 50) {
        map.insert("BridgeNfIptables".to_owned(), json!(false));
        map.insert("BridgeNfIp6tables".to_owned(), json!(false));
    }
    Ok(Json(info))
}

fn add_warnings(warnings: &mut Value, more: &[String]) {
    if more.is_empty() {
        return;
    }
    if !warnings.is_array() {
        *warnings = json!([]);
    }
    if let Some(list) = warnings.as_array_mut() {
        list.extend(more.iter().map(|warning| json!(warning)));
    }
}

pub(super) async fn events(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let filters = params.filters(&filter::ACCEPTED)?;
    let (since, until) = (time_param(&params, "since")?, time_param(&params, "until")?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(ApiError::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            params.get("since"),
            params.get("until")
        )));
    }
    let events = state.engine.events(since, until);
    let wanted = events.filter(move |event| futures::future::ready(filter::wants(&filters, event)));
    Ok(json_lines(wanted.map(filter::with_legacy_fields)))
}

pub(super) async fn auth(
    State(state): State<ApiState>,
    JsonBody(auth): JsonBody<AuthConfig>,
) -> Result<Json<Value>, ApiError> {
    let status = state.engine.authenticate(auth).await?;
    Ok(Json(json!({ "Status": status, "IdentityToken": "" })))
}

pub(super) async fn disk_usage(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    usage::disk_usage(&state, &params.all("type")).await.map(Json)
}

pub(super) async fn unsupported(uri: Uri) -> ApiError {
    ApiError::not_implemented(format!("{} is not supported by this daemon", uri.path()))
}

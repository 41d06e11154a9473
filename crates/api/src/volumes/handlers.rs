//! Answers about volumes.

use axum::Json;
use axum::extract::{Path, State};
use bollard_stubs::models::{Volume, VolumeCreateRequest, VolumePruneResponse};
use http::StatusCode;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::params::Params;
use crate::state::ApiState;

const LIST_FILTERS: [&str; 4] = ["dangling", "name", "driver", "label"];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "all"];

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let volumes = state.engine.list_volumes(params.filters(&LIST_FILTERS)?).await?;
    Ok(Json(json!({ "Volumes": volumes, "Warnings": null })))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    JsonBody(body): JsonBody<VolumeCreateRequest>,
) -> Result<(StatusCode, Json<Volume>), ApiError> {
    if body.cluster_volume_spec.is_some() {
        return Err(ApiError::not_implemented("cluster volumes are not supported by this daemon"));
    }
    Ok((StatusCode::CREATED, Json(state.engine.create_volume(body).await?)))
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(name): Path<String>,
) -> Result<Json<Volume>, ApiError> {
    state.engine.inspect_volume(&name).await.map(Json)
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    state.engine.remove_volume(&name, params.flag("force")).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<VolumePruneResponse>, ApiError> {
    state.engine.prune_volumes(params.filters(&PRUNE_FILTERS)?).await.map(Json)
}

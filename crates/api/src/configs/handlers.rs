//! Answers about configs.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use swarm_proto::v1;
use swarm_proto::v1::list_configs_request::Filters as ListFilters;

use crate::control::{self, expected};
use crate::convert::stored;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::params::Params;
use crate::state::ApiState;
use crate::wire;

const FILTERS: [&str; 4] = ["names", "name", "id", "label"];

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Vec<wire::Config>>, ApiError> {
    let filters = params.filters(&FILTERS)?;
    let request = ListFilters {
        names: filters.list("names"),
        name_prefixes: filters.list("name"),
        id_prefixes: filters.list("id"),
        labels: filters.pairs("label"),
    };
    let answer =
        state.control()?.list_configs(v1::ListConfigsRequest { filters: Some(request) }).await?;
    Ok(Json(answer.configs.iter().map(stored::config_json).collect()))
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<wire::Config>, ApiError> {
    Ok(Json(stored::config_json(&state.control()?.find_config(&id).await?)))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    JsonBody(body): JsonBody<wire::ConfigSpec>,
) -> Result<(StatusCode, Json<wire::Created>), ApiError> {
    let spec = stored::config_spec(&body)?;
    let answer =
        state.control()?.create_config(v1::CreateConfigRequest { spec: Some(spec) }).await?;
    let id = expected(answer.config, "config")?.id;
    Ok((StatusCode::CREATED, Json(wire::Created { id })))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    JsonBody(body): JsonBody<wire::ConfigSpec>,
) -> Result<(), ApiError> {
    let index = params.version("config")?;
    let spec = stored::config_spec(&body)?;
    let control = state.control()?;
    let request = v1::UpdateConfigRequest {
        config_id: control.find_config(&id).await?.id,
        config_version: control::version(index),
        spec: Some(spec),
    };
    control.update_config(request).await.map(drop)
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let control = state.control()?;
    let config_id = control.find_config(&id).await?.id;
    control.remove_config(v1::RemoveConfigRequest { config_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Answers about secrets.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use swarm_proto::v1;
use swarm_proto::v1::list_secrets_request::Filters as ListFilters;

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
) -> Result<Json<Vec<wire::Secret>>, ApiError> {
    let filters = params.filters(&FILTERS)?;
    let request = ListFilters {
        names: filters.list("names"),
        name_prefixes: filters.list("name"),
        id_prefixes: filters.list("id"),
        labels: filters.pairs("label"),
    };
    let answer =
        state.control()?.list_secrets(v1::ListSecretsRequest { filters: Some(request) }).await?;
    Ok(Json(answer.secrets.iter().map(stored::secret_json).collect()))
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<wire::Secret>, ApiError> {
    Ok(Json(stored::secret_json(&state.control()?.find_secret(&id).await?)))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    JsonBody(body): JsonBody<wire::SecretSpec>,
) -> Result<(StatusCode, Json<wire::Created>), ApiError> {
    let spec = stored::secret_spec(&body)?;
    let answer =
        state.control()?.create_secret(v1::CreateSecretRequest { spec: Some(spec) }).await?;
    let id = expected(answer.secret, "secret")?.id;
    Ok((StatusCode::CREATED, Json(wire::Created { id })))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    JsonBody(body): JsonBody<wire::SecretSpec>,
) -> Result<(), ApiError> {
    let index = params.version("secret")?;
    let spec = stored::secret_spec(&body)?;
    let control = state.control()?;
    let request = v1::UpdateSecretRequest {
        secret_id: control.find_secret(&id).await?.id,
        secret_version: control::version(index),
        spec: Some(spec),
    };
    control.update_secret(request).await.map(drop)
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let control = state.control()?;
    let secret_id = control.find_secret(&id).await?.id;
    control.remove_secret(v1::RemoveSecretRequest { secret_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

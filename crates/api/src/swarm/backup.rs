//! Backups of the swarm's state, which Docker's API lacks: `POST /swarm/backup` and `POST /swarm/restore`.
//!
//! Files travel as they are. A key travels in base 64 in a header, since it may hold any characters.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::cluster::RestoreRequest;
use crate::error::ApiError;
use crate::http::body::read_all;
use crate::http::params::Params;
use crate::state::ApiState;

/// What a backup is, or is to be, encrypted with.
const KEY_HEADER: &str = "x-swarm-backup-key";
/// A cluster of 100,000 tasks takes a tenth of it.
const BACKUP_BYTES_MAX: usize = 1 << 30;

pub(super) async fn backup(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let file = state.cluster.backup(key(&headers)?).await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], file))
}

pub(super) async fn restore(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<String>, ApiError> {
    let request = RestoreRequest {
        listen_addr: params.get("listenAddr").to_owned(),
        advertise_addr: params.get("advertiseAddr").to_owned(),
        data_path_addr: params.get("dataPathAddr").to_owned(),
        key: key(&headers)?,
        file: read_all(body, BACKUP_BYTES_MAX).await?.into(),
    };
    state.cluster.restore(request).await.map(Json)
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    let key = STANDARD.decode(value).ok().and_then(|key| String::from_utf8(key).ok());
    match key.filter(|key| !key.is_empty()) {
        Some(key) => Ok(Some(key)),
        None => Err(ApiError::invalid("the backup's key must be text, and not empty")),
    }
}

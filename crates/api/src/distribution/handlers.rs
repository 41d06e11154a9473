//! Answers about images in registries.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use bollard_stubs::models::DistributionInspect;
use http::HeaderMap;

use crate::error::ApiError;
use crate::http::registry_auth;
use crate::state::ApiState;

/// `docker service create` waits for this answer; a network that drops packets must not hold it up for longer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Result<Json<DistributionInspect>, ApiError> {
    let Some(name) = rest.strip_suffix("/json") else {
        return Err(ApiError::not_found("page not found"));
    };
    let auth = registry_auth::encoded(&headers);
    match tokio::time::timeout(LOOKUP_TIMEOUT, state.engine.distribution(name, &auth)).await {
        Ok(found) => found.map(Json),
        Err(_) => Err(ApiError::unavailable(format!("the registry of {name} does not answer"))),
    }
}

//! Which requests about networks exist.

use axum::Router;
use axum::routing::{get, post};

use super::handlers::{create, inspect, list, prune, remove, unsupported};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
        .route("/networks/{id}/connect", post(unsupported))
        .route("/networks/{id}/disconnect", post(unsupported))
}

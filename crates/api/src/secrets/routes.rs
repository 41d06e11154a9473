//! Which requests about secrets exist.

use axum::Router;
use axum::routing::{get, post};

use super::handlers::{create, inspect, list, remove, update};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/secrets", get(list))
        .route("/secrets/create", post(create))
        .route("/secrets/{id}", get(inspect).delete(remove))
        .route("/secrets/{id}/update", post(update))
}

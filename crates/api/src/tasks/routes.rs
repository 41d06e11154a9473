//! Which requests about tasks exist.

use axum::Router;
use axum::routing::get;

use super::handlers::{inspect, list, logs};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/tasks", get(list))
        .route("/tasks/{id}", get(inspect))
        .route("/tasks/{id}/logs", get(logs))
}

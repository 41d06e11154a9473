//! Which requests about services exist.

use axum::Router;
use axum::routing::{get, post};

use super::handlers::{create, inspect, list, logs, remove, update};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/services", get(list))
        .route("/services/create", post(create))
        .route("/services/{id}", get(inspect).delete(remove))
        .route("/services/{id}/update", post(update))
        .route("/services/{id}/logs", get(logs))
}

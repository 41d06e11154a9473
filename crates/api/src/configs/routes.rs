//! Which requests about configs exist.

use axum::Router;
use axum::routing::{get, post};

use super::handlers::{create, inspect, list, remove, update};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/configs", get(list))
        .route("/configs/create", post(create))
        .route("/configs/{id}", get(inspect).delete(remove))
        .route("/configs/{id}/update", post(update))
}

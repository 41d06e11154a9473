//! Which requests about nodes exist.

use axum::Router;
use axum::routing::{get, post};

use super::handlers::{inspect, list, remove, update};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/nodes", get(list))
        .route("/nodes/{id}", get(inspect).delete(remove))
        .route("/nodes/{id}/update", post(update))
}

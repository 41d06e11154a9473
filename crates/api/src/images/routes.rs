//! Which requests about images exist.

use axum::Router;
use axum::routing::{get, post};

use super::handlers::{create, list, load, prune, read_named, remove, save, write_named};
use crate::state::ApiState;

/// An image's name has slashes, so the routes of one image take the whole rest of the path.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/load", post(load))
        .route("/images/get", get(save))
        .route("/images/create", post(create))
        .route("/images/prune", post(prune))
        .route("/images/{*rest}", get(read_named).post(write_named).delete(remove))
}

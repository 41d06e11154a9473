//! Which requests about volumes exist.

use axum::Router;
use axum::routing::{get, post};

use super::handlers::{create, inspect, list, prune, remove};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove))
}

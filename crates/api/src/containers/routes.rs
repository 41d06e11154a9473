//! Which requests about containers exist.

use axum::Router;
use axum::routing::{any, get, post};

use super::attach::attach;
use super::handlers::{
    create, inspect, kill, list, logs, prune, remove, rename, restart, start, stop, unsupported,
    wait,
};
use crate::state::ApiState;

/// Verbs of the Engine API that this daemon does not have yet; the answer names them.
const UNSUPPORTED: [&str; 11] = [
    "archive",
    "attach/ws",
    "changes",
    "checkpoints",
    "exec",
    "export",
    "pause",
    "resize",
    "stats",
    "top",
    "unpause",
];

pub(crate) fn routes() -> Router<ApiState> {
    let router = Router::new()
        .route("/containers/json", get(list))
        .route("/containers/create", post(create))
        .route("/containers/prune", post(prune))
        .route("/containers/{id}", axum::routing::delete(remove))
        .route("/containers/{id}/json", get(inspect))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/wait", post(wait))
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/logs", get(logs))
        .route("/containers/{id}/attach", post(attach))
        .route("/containers/{id}/update", any(unsupported));
    UNSUPPORTED.iter().fold(router, |router, verb| {
        router.route(&format!("/containers/{{id}}/{verb}"), any(unsupported))
    })
}

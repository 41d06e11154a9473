//! Which requests about the daemon itself exist.

use axum::Router;
use axum::routing::{any, get, post};

use super::handlers::{auth, disk_usage, events, info, ping, unsupported, version};
use crate::state::ApiState;

/// Whole areas of the API that this daemon does not have; the answer names them.
const UNSUPPORTED: [&str; 11] = [
    "/build",
    "/build/{*rest}",
    "/commit",
    "/exec/{*rest}",
    "/grpc",
    "/images/search",
    "/plugins",
    "/plugins/{*rest}",
    "/session",
    "/debug/{*rest}",
    "/checkpoints",
];

pub(crate) fn routes() -> Router<ApiState> {
    let router = Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/events", get(events))
        .route("/auth", post(auth))
        .route("/system/df", get(disk_usage));
    UNSUPPORTED.iter().fold(router, |router, path| router.route(path, any(unsupported)))
}

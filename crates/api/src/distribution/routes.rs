//! Which requests about images in registries exist.

use axum::Router;
use axum::routing::get;

use super::handlers::inspect;
use crate::state::ApiState;

/// An image's name has slashes, so the route takes the whole rest of the path.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new().route("/distribution/{*rest}", get(inspect))
}

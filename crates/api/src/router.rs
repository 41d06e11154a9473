//! All routes: each resource brings its own, this room puts them together.

use axum::Router;
use axum::middleware::from_fn_with_state;

use crate::error::ApiError;
use crate::http::version;
use crate::state::ApiState;
use crate::{
    configs, containers, distribution, images, networks, nodes, secrets, services, swarm, system,
    tasks, volumes,
};

/// The whole API. The outer router has no routes of its own: its one layer cuts the version prefix off first.
pub(crate) fn build(state: ApiState) -> Router {
    let routes = Router::new()
        .merge(system::routes())
        .merge(swarm::routes())
        .merge(nodes::routes())
        .merge(services::routes())
        .merge(tasks::routes())
        .merge(secrets::routes())
        .merge(configs::routes())
        .merge(containers::routes())
        .merge(images::routes())
        .merge(networks::routes())
        .merge(volumes::routes())
        .merge(distribution::routes())
        .fallback(page_not_found)
        .method_not_allowed_fallback(page_not_found)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(state.clone());
    Router::new().fallback_service(routes).layer(from_fn_with_state(state, version::negotiate))
}

async fn page_not_found() -> ApiError {
    ApiError::not_found("page not found")
}

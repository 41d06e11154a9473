//! The configs of the swarm: /configs.

mod handlers;
mod routes;

pub(crate) use routes::routes;

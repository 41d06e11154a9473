//! The members of the swarm: /nodes.

mod handlers;
mod routes;

pub(crate) use routes::routes;

//! The secrets of the swarm: /secrets.

mod handlers;
mod routes;

pub(crate) use routes::routes;

//! The networks of this node and of the swarm: /networks.

mod handlers;
mod routes;

pub(crate) use routes::routes;

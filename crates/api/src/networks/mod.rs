//! The networks of this node and of the swarm: /networks.

mod filter;
mod handlers;
mod routes;

pub(crate) use routes::routes;

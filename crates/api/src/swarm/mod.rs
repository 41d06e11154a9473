//! The swarm itself: /swarm.

mod handlers;
mod routes;

pub(crate) use routes::routes;

//! The swarm itself: /swarm.

mod backup;
mod handlers;
mod routes;

pub(crate) use routes::routes;

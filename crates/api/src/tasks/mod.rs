//! The tasks of the swarm's services: /tasks.

mod handlers;
mod routes;

pub(crate) use routes::routes;

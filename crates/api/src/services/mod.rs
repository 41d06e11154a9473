//! The services of the swarm: /services.

mod handlers;
pub(crate) mod logs;
mod networks;
mod pin;
mod routes;
mod versions;

pub(crate) use routes::routes;

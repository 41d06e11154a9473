//! The services of the swarm: /services.

mod handlers;
pub(crate) mod logs;
mod networks;
mod pin;
mod routes;
mod unsupported;
mod versions;

pub(crate) use routes::routes;

//! The volumes of this node: /volumes.

mod handlers;
mod routes;

pub(crate) use routes::routes;

//! The containers of this node: /containers.

mod handlers;
mod routes;

pub(crate) use routes::routes;

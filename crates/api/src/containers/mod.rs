//! The containers of this node: /containers.

mod attach;
mod handlers;
mod routes;

pub(crate) use routes::routes;

//! The images of this node: /images.

mod handlers;
mod routes;

pub(crate) use routes::routes;

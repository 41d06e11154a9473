//! What a registry knows of an image: /distribution.

mod handlers;
mod routes;

pub(crate) use routes::routes;

//! The daemon itself: /_ping, /version, /info, /events, /auth and /system/df.

mod cluster_info;
mod filter;
mod handlers;
mod routes;
mod usage;

pub(crate) use routes::routes;

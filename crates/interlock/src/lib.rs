//! Interlock: keeps a load balancer, HAProxy, in step with what runs in a cluster.
//!
//! ```text
//!  swarm manage, swarm daemon or an engine ──events──> feed ──hints──> pace (when to look again)
//!                        └───────────containers, services──> state ──> plan ──> render ──> haproxy
//! ```
//!
//! Events are hints only: at each, all that runs is read anew, so that nothing can be missed. `plan` and `render` are
//! pure. Mirrors Interlock 0.3 (`--swarm-url … --plugin haproxy start`, `INTERLOCK_DATA`, `HAPROXY_*`) with the labels
//! `interlock.*` of its successor.

mod client;
mod command;
mod feed;
mod haproxy;
mod pace;
mod plan;
mod render;
mod run;
mod settings;
mod state;
mod wishes;

pub use command::run;

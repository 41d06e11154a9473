//! The Docker Engine HTTP API over a cluster and an engine.
//!
//! Whatever speaks to a Docker daemon (the `docker` CLI, Compose, SDKs) speaks to [`Server`]. Behind it are two
//! borders: [`Cluster`], one member's life in a swarm and the way to the cluster's control service, and
//! [`EngineBackend`], the containers, images, volumes and networks of this node. No state is kept here, and nothing
//! is decided here that the control service or the engine decides.
//!
//! Every resource is a folder of the same furniture: `routes.rs` says which requests exist, `handlers.rs` answers
//! them. `convert/` turns Docker's JSON into SwarmKit's messages and back, `http/` has what all handlers share.
//! Mirrors moby's `daemon/server` and `daemon/cluster`, API versions 1.24 to 1.51.

pub mod cluster;
mod embedded;
pub mod engine_backend;
mod error;
mod http;
mod listener;
mod router;
mod server;
mod state;
mod tls;

mod control;
mod convert;
mod wire;

mod configs;
mod containers;
mod distribution;
mod images;
mod networks;
mod nodes;
mod secrets;
mod services;
mod swarm;
mod system;
mod tasks;
mod volumes;

#[cfg(test)]
mod testing;

pub use crate::http::filters::Filters;
pub use crate::http::version::{ApiVersion, MAX_VERSION, MIN_VERSION};
pub use cluster::{
    Cluster, ClusterError, ClusterStatus, InitRequest, JoinRequest, LocalState, RemoteManager,
    RestoreRequest,
};
pub use embedded::EmbeddedEngine;
pub use engine_backend::EngineBackend;
pub use error::{ApiError, Class};
pub use listener::Listener;
pub use server::Server;
pub use state::{ApiState, DaemonInfo};
pub use tls::{ClientCertificates, TlsError, TlsFiles, server_config};

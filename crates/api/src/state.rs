//! What every handler is given: the cluster, the engine and the daemon's own description.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::engine_backend::EngineBackend;

/// What the daemon says about itself in `/version` and in headers.
#[derive(Debug, Clone)]
pub struct DaemonInfo {
    /// The daemon's version.
    pub server_version: String,
    /// The commit that it was built from.
    pub git_commit: String,
    /// When it was built, RFC 3339; empty if unknown.
    pub build_time: String,
    /// Extra lines for `docker info`'s warnings, such as that of an unprotected TCP socket.
    pub warnings: Vec<String>,
}

impl Default for DaemonInfo {
    fn default() -> Self {
        Self {
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: String::new(),
            build_time: String::new(),
            warnings: Vec::new(),
        }
    }
}

/// The two borders of the API and the daemon's description; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// This node's membership in a swarm.
    pub cluster: Arc<dyn Cluster>,
    /// This node's containers, images, volumes and networks.
    pub engine: Arc<dyn EngineBackend>,
    /// What the daemon says about itself.
    pub daemon: Arc<DaemonInfo>,
}

impl ApiState {
    /// The state of one daemon.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        engine: Arc<dyn EngineBackend>,
        daemon: DaemonInfo,
    ) -> Self {
        Self { cluster, engine, daemon: Arc::new(daemon) }
    }
}

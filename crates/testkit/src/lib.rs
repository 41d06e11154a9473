//! For tests only: hosts in network namespaces, clusters of real daemons, stock engines, tiny images.
//!
//! A [`Lab`] is a switch and a folder; a [`Host`] is a machine on it, as far as a daemon can tell: network, mounts
//! and host name of its own. A [`Cluster`] runs our daemon on several hosts, a [`StockEngine`] Docker's. All of it
//! is gone when it is dropped: processes are killed by ID, mounts and links go with their namespaces.
//!
//! Functions here panic with the reason when the test's own set-up fails, as assertions do.

#![expect(clippy::print_stdout, reason = "a test says why it was skipped")]

mod cluster;
mod docker;
mod host;
mod image;
mod lab;
mod processes;
mod stock;
mod stores;
mod swarm;
mod wait;

pub use cluster::Cluster;
pub use docker::{Engine, Output, docker};
pub use host::Host;
pub use image::busybox_image_tar;
pub use lab::Lab;
pub use stock::StockEngine;
pub use stores::{Consul, Etcd, KeyStore, ZooKeeper};
pub use swarm::{Daemon, swarm_binary};
pub use wait::wait_until;

/// Whether a test can run here. If it can't, prints the reason; where `CI=true`, that is a failure.
#[must_use]
pub fn require(condition: bool, reason: &str) -> bool {
    if !condition {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "can't run here, and must: {reason}");
        println!("skipped: {reason}");
    }
    condition
}

/// Whether hosts can be made here: as root, with what runs in them installed.
#[must_use]
pub fn require_hosts() -> bool {
    require(nix::unistd::geteuid().is_root(), "needs root to make network namespaces")
        && ["nsenter", "unshare", "sleep"].iter().all(|name| require_command(name))
}

/// Whether a command is installed.
#[must_use]
pub fn require_command(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    require(found, &format!("needs the command {name}"))
}

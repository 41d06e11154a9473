//! Stores of keys and values, for standalone Swarm: real ones of Debian's packages, and a stand-in for Consul.

mod consul;
mod etcd;
mod zookeeper;

use std::fmt;
use std::time::Duration;

pub use consul::Consul;
pub use etcd::Etcd;
pub use zookeeper::ZooKeeper;

/// A store may take so long to answer after its start; one that runs on Java takes seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A store that can be killed, and started again with what it had.
pub trait KeyStore: fmt::Debug {
    /// As `swarm` names it, without a path.
    fn url(&self) -> String;

    /// Kills all its servers.
    fn kill(&mut self);

    /// Starts it again, and waits until it answers.
    fn restart(&mut self);
}

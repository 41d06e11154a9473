//! How long snapshots take: a process-wide histogram with SwarmKit's name, for whoever serves it.

use std::sync::LazyLock;

use prometheus::Histogram;
use prometheus::core::Collector;

/// From a snapshot's capture to its file (SwarmKit's `raft.snapshot_latency`).
pub(crate) static SNAPSHOT: LazyLock<Histogram> = LazyLock::new(|| {
    let name = "swarm_raft_snapshot_latency_seconds";
    swarm_store::metrics::histogram(name, "Raft snapshot create latency.")
});

/// All of them.
pub fn collectors() -> Vec<Box<dyn Collector>> {
    vec![Box::new(SNAPSHOT.clone())]
}

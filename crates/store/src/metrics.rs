//! How long transactions take: process-wide histograms with SwarmKit's names, for whoever serves them.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts};

/// From a transaction's begin to its proposal (SwarmKit's `store.write_tx_latency`).
pub(crate) static WRITE: LazyLock<Histogram> = LazyLock::new(|| {
    histogram("swarm_store_write_tx_latency_seconds", "Raft store write tx latency.")
});

/// From a transaction's proposal to its commit (SwarmKit's `raft.transaction_latency`).
pub(crate) static COMMIT: LazyLock<Histogram> = LazyLock::new(|| {
    histogram("swarm_raft_transaction_latency_seconds", "Raft transaction latency.")
});

/// All of them.
pub fn collectors() -> Vec<Box<dyn Collector>> {
    vec![Box::new(WRITE.clone()), Box::new(COMMIT.clone())]
}

/// A histogram of seconds. SwarmKit's buckets begin at 5 ms; here most of what is measured takes less.
///
/// # Panics
/// Where the name is none that Prometheus knows.
pub fn histogram(name: &str, help: &str) -> Histogram {
    let mut buckets = vec![0.0001, 0.00025, 0.0005, 0.001, 0.0025];
    buckets.extend_from_slice(prometheus::DEFAULT_BUCKETS);
    let options = HistogramOpts::new(name, help).buckets(buckets);
    Histogram::with_opts(options).expect("a plain name and ascending buckets")
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_valid() {
        assert_eq!(super::collectors().len(), 2);
    }
}

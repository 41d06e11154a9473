//! How often one node may ask for a certificate: each request is written to the log of all managers and signed.
//!
//! A node renews twice in the life of a certificate, once for a change of role and once or twice for another root. Time
//! is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// So many requests at once are taken.
const BURST: u32 = 10;
/// And one more after each of these.
const INTERVAL: Duration = Duration::from_secs(3);
/// Nodes that are remembered; beyond it all that have rested are forgotten.
const NODES_MAX: usize = 10_000;

/// What each node has asked for lately.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When a node's requests will be forgotten.
    busy_until: HashMap<String, Instant>,
}

impl Throttle {
    /// Whether the node may ask now; if so, it has asked.
    pub(super) fn admits(&mut self, node_id: &str, now: Instant) -> bool {
        if self.busy_until.len() >= NODES_MAX {
            self.busy_until.retain(|_, until| *until > now);
        }
        let until = self.busy_until.get(node_id).copied().unwrap_or(now).max(now);
        let next = until + INTERVAL;
        let is_admitted = next <= now + INTERVAL * BURST;
        if is_admitted {
            self.busy_until.insert(node_id.to_owned(), next);
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let mut passed = |node: &str, after: Duration, tries: usize| {
            (0..tries).filter(|_| throttle.admits(node, start + after)).count()
        };
        assert_eq!(passed("a", Duration::ZERO, 100), 10);
        assert_eq!(passed("b", Duration::ZERO, 5), 5);
        assert_eq!(passed("a", INTERVAL, 100), 1);
        assert_eq!(passed("a", INTERVAL * 3, 100), 2);
        assert_eq!(passed("a", INTERVAL * 100, 100), 10);
    }
}

//! Memory of where a service's tasks failed lately, so that a node on which they keep failing is chosen last.
//!
//! Kept per specification version: an update starts with a clean record. Mirrors the recent failures of SwarmKit's
//! `manager/scheduler/nodeinfo.go`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

/// How long a failure counts.
const FAILURE_WINDOW: Duration = Duration::from_secs(5 * 60);
/// How many failures within the window make a node a last resort for the service.
pub(crate) const FAILURES_MAX: usize = 5;
/// How many failures are remembered for one service on one node: twice what decides, so that of two bad nodes the
/// better one is still told from the worse, and a task that fails in a loop does not fill the memory.
const FAILURES_KEPT: usize = 2 * FAILURES_MAX;

/// A service at one version of its specification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VersionedService {
    pub(crate) service_id: String,
    pub(crate) spec_version: Option<u64>,
}

/// The failures on one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures {
    recent: BTreeMap<VersionedService, VecDeque<SystemTime>>,
}

impl Failures {
    /// Records that a task of `service` failed at `now`, and forgets what happened too long ago.
    pub(crate) fn record(&mut self, now: SystemTime, service: VersionedService) {
        self.recent.retain(|_, times| {
            times.retain(|time| is_recent(now, *time));
            !times.is_empty()
        });
        let times = self.recent.entry(service).or_default();
        if times.len() == FAILURES_KEPT {
            times.pop_front();
        }
        times.push_back(now);
    }

    /// How much the failures of `service` speak against the node: zero until they are many.
    pub(crate) fn weight(&self, now: SystemTime, service: &VersionedService) -> usize {
        let count = self
            .recent
            .get(service)
            .map_or(0, |times| times.iter().filter(|time| is_recent(now, **time)).count());
        if count >= FAILURES_MAX { count } else { 0 }
    }
}

fn is_recent(now: SystemTime, time: SystemTime) -> bool {
    now.duration_since(time).is_ok_and(|age| age <= FAILURE_WINDOW) || time > now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighs_only_many_recent_failures() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let service = VersionedService { service_id: "s".into(), spec_version: Some(1) };
        let updated = VersionedService { spec_version: Some(2), ..service.clone() };
        let mut failures = Failures::default();
        for second in 0..4 {
            failures.record(start + Duration::from_secs(second), service.clone());
        }
        assert_eq!(failures.weight(start, &service), 0);
        failures.record(start + Duration::from_secs(4), service.clone());
        for (after, expect) in [(4, 5), (300, 5), (301, 0), (1_000, 0)] {
            assert_eq!(
                failures.weight(start + Duration::from_secs(after), &service),
                expect,
                "after {after} s"
            );
        }
        assert_eq!(failures.weight(start, &updated), 0);
    }
}

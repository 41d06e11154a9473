//! Waiting for a state instead of for a time.

use std::time::{Duration, Instant};

/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns something, and returns that. Panics with `what` when the time is over.
#[track_caller]
pub fn wait_until<T>(timeout: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "after {timeout:?} still waiting for {what}");
        std::thread::sleep(POLL);
    }
}

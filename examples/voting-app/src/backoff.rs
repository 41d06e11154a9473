//! How long to wait before another attempt at something that failed.

use std::time::Duration;

/// After the first failure. Short: most often a neighbour restarts, which takes a moment.
const FIRST: Duration = Duration::from_millis(100);
/// Never longer: whoever comes back is to be found soon, and one attempt in this time is no load.
const LONGEST: Duration = Duration::from_secs(3);

/// Waits that double from failure to failure.
#[derive(Debug, Clone, Copy)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// How long to wait now.
    pub fn failed(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait
    }

    /// What was attempted worked: the next failure is a first one.
    pub fn worked(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_start_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3000, 3000]);
        backoff.worked();
        assert_eq!(backoff.failed(), FIRST);
    }
}

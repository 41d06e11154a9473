//! Restart policies: whether an ended container starts again, and after what pause. Pure.
//!
//! Mirrors moby's `restartmanager`: the pause starts at 100 ms, doubles up to a minute, and begins anew after a run of
//! 10 seconds.

use std::time::Duration;

use bollard_stubs::models::{RestartPolicy, RestartPolicyNameEnum};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const STABLE_RUN: Duration = Duration::from_secs(10);

/// What a run's end was like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    pub(crate) manually_stopped: bool,
    /// Restarts so far.
    pub(crate) restarts: i64,
    pub(crate) ran_for: Duration,
    /// The pause before this run.
    pub(crate) last_pause: Duration,
}

/// The pause until the next start; `None` if there is none.
pub(crate) fn next_start(policy: Option<&RestartPolicy>, ended: &Ended) -> Option<Duration> {
    use RestartPolicyNameEnum::{ALWAYS, ON_FAILURE, UNLESS_STOPPED};
    let policy = policy?;
    let maximum = policy.maximum_retry_count.unwrap_or(0);
    let wanted = !ended.manually_stopped
        && match policy.name {
            Some(ALWAYS | UNLESS_STOPPED) => true,
            Some(ON_FAILURE) => ended.exit_code != 0 && (maximum == 0 || ended.restarts < maximum),
            _ => false,
        };
    wanted.then(|| match ended.last_pause {
        _ if ended.ran_for >= STABLE_RUN => PAUSE_FIRST,
        Duration::ZERO => PAUSE_FIRST,
        last => (last * 2).min(PAUSE_MAX),
    })
}

/// Whether a container that does not run starts with the daemon.
pub(crate) fn starts_with_daemon(policy: Option<&RestartPolicy>, manually_stopped: bool) -> bool {
    use RestartPolicyNameEnum::{ALWAYS, UNLESS_STOPPED};
    match policy.and_then(|policy| policy.name) {
        Some(ALWAYS) => true,
        Some(UNLESS_STOPPED) => !manually_stopped,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RestartPolicyNameEnum::{ALWAYS, NO, ON_FAILURE};

    #[test]
    fn decides_as_docker_does() {
        let ended = Ended {
            exit_code: 1,
            manually_stopped: false,
            restarts: 2,
            ran_for: Duration::from_secs(1),
            last_pause: Duration::from_millis(200),
        };
        let check = |name, maximum, ended: Ended, expect: Option<u64>| {
            let policy = RestartPolicy { name: Some(name), maximum_retry_count: Some(maximum) };
            assert_eq!(next_start(Some(&policy), &ended), expect.map(Duration::from_millis));
        };
        check(NO, 0, ended, None);
        check(ALWAYS, 0, ended, Some(400));
        check(ALWAYS, 0, Ended { manually_stopped: true, ..ended }, None);
        check(ALWAYS, 0, Ended { ran_for: Duration::from_secs(11), ..ended }, Some(100));
        check(ALWAYS, 0, Ended { last_pause: Duration::from_secs(50), ..ended }, Some(60_000));
        check(ON_FAILURE, 3, ended, Some(400));
        check(ON_FAILURE, 2, ended, None);
        check(ON_FAILURE, 0, Ended { exit_code: 0, ..ended }, None);
    }
}

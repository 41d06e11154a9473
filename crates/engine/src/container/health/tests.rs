use super::*;

const SECOND: u64 = 1_000_000_000;

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|&word| word.to_owned()).collect())
}

fn config(check: HealthConfig) -> ContainerConfig {
    ContainerConfig { healthcheck: Some(check), ..Default::default() }
}

#[test]
fn reads_checks() {
    for (test, command) in [
        (None, None),
        (words(&[]), None),
        (words(&["NONE"]), None),
        (words(&["OTHER", "x"]), None),
        (words(&["CMD", "test", "-e", "/x"]), words(&["test", "-e", "/x"])),
        (words(&["CMD-SHELL", "exit 1"]), words(&["/bin/sh", "-c", "exit 1"])),
    ] {
        let read = HealthCheck::of(&config(HealthConfig { test, ..Default::default() }));
        assert_eq!(read.map(|check| check.command), command);
    }
    let shell = HealthConfig { test: words(&["CMD-SHELL", "x"]), ..Default::default() };
    let own_shell = ContainerConfig { shell: words(&["/bin/ash", "-e"]), ..config(shell) };
    let command = HealthCheck::of(&own_shell).map(|check| check.command);
    assert_eq!(command, words(&["/bin/ash", "-e", "x"]));
}

/// A script of results, each at a second of the container's life with an exit code, and the health after each.
#[test]
fn health_follows_the_results() {
    use HealthStatus::{Healthy, Starting, Unhealthy};
    let check = HealthCheck::of(&config(HealthConfig {
        test: words(&["CMD", "x"]),
        retries: Some(2),
        start_period: Some(10_000_000_000),
        ..Default::default()
    }));
    let check = check.expect("a check");
    for script in [
        &[(1, 1, Starting, 0), (2, 1, Starting, 0), (11, 1, Starting, 1), (12, 1, Unhealthy, 2)][..],
        // Who was healthy once has no start period any more.
        &[(1, 0, Healthy, 0), (2, 1, Healthy, 1), (3, -1, Unhealthy, 2), (4, 0, Healthy, 0)],
        &[(11, 1, Starting, 1), (12, 0, Healthy, 0), (13, 1, Healthy, 1), (14, 0, Healthy, 0)],
    ] {
        let mut health = Health::starting(None);
        for &(second, exit_code, status, streak) in script {
            let start = (100 + second) * SECOND;
            let result = ProbeResult { start, end: start + 1, exit_code, output: String::new() };
            health.observe(&check, result, 100 * SECOND);
            assert_eq!((health.status, health.failing_streak), (status, streak), "{script:?}");
        }
    }
}

#[test]
fn keeps_the_newest_results() {
    let check = HealthConfig { test: words(&["CMD", "x"]), ..Default::default() };
    let check = HealthCheck::of(&config(check)).expect("a check");
    let mut health = Health::starting(None);
    for start in 1..=7 {
        let result = ProbeResult { start, end: start, exit_code: 0, output: String::new() };
        health.observe(&check, result, 0);
    }
    let starts: Vec<u64> = health.log.iter().map(|result| result.start).collect();
    assert_eq!(starts, [3, 4, 5, 6, 7]);
    assert_eq!(Health::starting(Some(&health)).log.len(), RESULTS_MAX);
}

#[test]
fn probes_more_often_while_it_starts() {
    let seconds = Duration::from_secs;
    let check = HealthCheck::of(&config(HealthConfig {
        test: words(&["CMD", "x"]),
        start_period: Some(10_000_000_000),
        ..Default::default()
    }));
    let check = check.expect("a check");
    assert_eq!(check.pause(HealthStatus::Starting, seconds(0)), seconds(5));
    assert_eq!(check.pause(HealthStatus::Starting, seconds(10)), seconds(30));
    assert_eq!(check.pause(HealthStatus::Healthy, seconds(1)), seconds(30));
}

#[test]
fn the_image_fills_what_is_left_open() {
    let image = || HealthConfig {
        test: words(&["CMD", "image"]),
        interval: Some(5),
        retries: Some(7),
        ..Default::default()
    };
    let mut none = None;
    merge(&mut none, Some(image()));
    assert_eq!(none, Some(image()));
    let mut times = Some(HealthConfig { interval: Some(9), ..Default::default() });
    merge(&mut times, Some(image()));
    assert_eq!(times, Some(HealthConfig { interval: Some(9), ..image() }));
    let off = Some(HealthConfig { test: words(&["NONE"]), ..Default::default() });
    let mut own = off;
    merge(&mut own, Some(image()));
    assert_eq!(own.and_then(|check| check.test), words(&["NONE"]));
}

#[test]
fn refuses_what_no_check_can_have() {
    let refusal = |check: HealthConfig| {
        super::check(&config(check)).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let config = HealthConfig::default;
    for (given, expect) in [
        (HealthConfig { interval: Some(0), ..config() }, ""),
        (
            HealthConfig { interval: Some(999_999), ..config() },
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (
            HealthConfig { timeout: Some(-1), ..config() },
            "Timeout in Healthcheck cannot be less than 1ms",
        ),
        (
            HealthConfig { start_period: Some(1), ..config() },
            "StartPeriod in Healthcheck cannot be less than 1ms",
        ),
        (
            HealthConfig { start_interval: Some(1), ..config() },
            "StartInterval in Healthcheck cannot be less than 1ms",
        ),
        (
            HealthConfig { retries: Some(-1), ..config() },
            "Retries in Healthcheck cannot be negative",
        ),
    ] {
        assert_eq!(refusal(given), expect);
    }
}

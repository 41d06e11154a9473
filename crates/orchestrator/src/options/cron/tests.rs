//! What schedules are taken, and when their ticks are, above all where clocks change.

use swarm_proto::v1::{Annotations, GlobalService, ReplicatedJob};

use super::*;

const JOB: Mode = Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 1, total_completions: 2 });

fn spec(mode: Mode, labels: &[(&str, &str)]) -> ServiceSpec {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let annotations = Annotations { labels: labels.collect(), ..Default::default() };
    ServiceSpec { annotations: Some(annotations), mode: Some(mode), ..Default::default() }
}

fn schedule(expression: &str, zone: &str) -> Schedule {
    let spec = spec(JOB, &[(EXPRESSION, expression), (ZONE, zone)]);
    Schedule::of(Some(&spec)).expect("a schedule")
}

fn instant(text: &str) -> SystemTime {
    text.parse::<Timestamp>().expect("an instant").into()
}

#[test]
fn refuses_what_cannot_be_followed() {
    let global = || Mode::Global(GlobalService {});
    for (mode, labels, expect) in [
        (JOB, &[("swarm.cron", "*/5 * * * *")][..], ""),
        (JOB, &[("swarm.cron", "@hourly"), ("swarm.cron.timezone", "Europe/Berlin")], ""),
        (JOB, &[("swarm.cron", "@midnight")], ""),
        (JOB, &[("swarm.cron", "*/10 * * * * *"), ("swarm.cron.deadline", "30s")], ""),
        (JOB, &[("swarm.cron", "0 9 * * MON-FRI"), ("swarm.cron.concurrency", "replace")], ""),
        (global(), &[("swarm.croner", "anything")], ""),
        (global(), &[("swarm.cron", "@hourly")], "only jobs have a schedule"),
        (JOB, &[("swarm.cron", "")], "expected five fields"),
        (JOB, &[("swarm.cron", "* * * *")], "expected five fields"),
        (JOB, &[("swarm.cron", "61 * * * *")], "expected five fields"),
        (JOB, &[("swarm.cron", "@reboot")], "expected five fields"),
        (JOB, &[("swarm.cron", "0 0 1 1 * * 2027")], "expected five fields"),
        (JOB, &[("swarm.cron", "0 0 31 2 *")], "this time never comes"),
        (JOB, &[("swarm.cron", "@daily"), ("swarm.cron.timezone", "Berlin")], "no such time zone"),
        (JOB, &[("swarm.cron", "@daily"), ("swarm.cron.deadline", "soon")], "from 1s to 168h"),
        (JOB, &[("swarm.cron", "@daily"), ("swarm.cron.concurrency", "x")], "forbid, allow or"),
        (JOB, &[("swarm.cron", "@daily"), ("swarm.cron.concurrency", "allow")], "all of its tasks"),
        (JOB, &[("swarm.cron.timezone", "UTC")], "means nothing without the label swarm.cron"),
    ] {
        let refused = crate::options::check(&spec(mode, labels));
        match (refused, expect) {
            (Ok(()), "") => {}
            (Err(error), _) if !expect.is_empty() => {
                assert!(error.problem.contains(expect), "{labels:?}: {error}");
            }
            (result, _) => panic!("{labels:?}: {result:?}"),
        }
    }
}

#[test]
fn a_wall_clock_that_is_put_forward_or_back_moves_no_tick_twice() {
    for (case, expression, after, ticks) in [
        ("a day", "30 9 * * *", "2026-11-22T00:00:00Z", &["2026-11-22T08:30:00Z"][..]),
        (
            "02:30 does not exist on March 29th",
            "30 2 * * *",
            "2026-03-28T00:00:00Z",
            &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        ),
        (
            "02:30 exists twice on October 25th",
            "30 2 * * *",
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        ),
        (
            "an interval goes on through the gap",
            "*/30 * * * *",
            "2026-03-29T00:15:00Z",
            &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        ),
        (
            "and through the hour that comes twice",
            "@hourly",
            "2026-10-24T23:30:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
        ),
        ("a leap day", "0 0 29 2 *", "2026-01-01T00:00:00Z", &["2028-02-28T23:00:00Z"]),
    ] {
        let schedule = schedule(expression, "Europe/Berlin");
        let mut at = instant(after);
        for tick in ticks {
            let next = schedule.next_after(at).expect("another tick");
            assert_eq!(next, instant(tick), "{case}: after {at:?}");
            at = next;
        }
    }
}

#[test]
fn looking_back_finds_the_tick_that_looking_forward_found() {
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"];
    let expressions = ["*/7 * * * *", "30 2 * * *", "0 3 * * *", "15,45 1-3 * * *", "0 0 * * SUN"];
    for zone in zones {
        for expression in expressions {
            let schedule = schedule(expression, zone);
            for start in ["2026-03-07T12:00:00Z", "2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z"] {
                let mut tick = schedule.next_after(instant(start)).expect("a tick");
                let end = instant(start) + Duration::from_secs(2 * 24 * 60 * 60);
                while tick < end {
                    let next = schedule.next_after(tick).expect("another");
                    assert!(next > tick);
                    let before = next - Duration::from_millis(1);
                    for at in [tick, tick + Duration::from_millis(1), before] {
                        let found = schedule.last_until(at);
                        assert_eq!(found, Some(tick), "{expression} {zone} until {at:?}");
                    }
                    tick = next;
                }
            }
        }
    }
}

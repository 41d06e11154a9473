//! Jobs that run on a schedule: each tick once, whoever leads.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use swarm_testkit::{Cluster, Daemon, Engine, wait_until};

use crate::managers::leader;
use crate::support::{IMAGE, PATIENCE, await_output, can_run, swarm};

fn create(manager: &Daemon, name: &str, flags: &[&str], script: &str) -> swarm_testkit::Output {
    let start = ["service", "create", "--detach", "--name", name];
    manager.docker(&[&start[..], flags, &[IMAGE, "sh", "-c", script]].concat())
}

type Tick = Option<String>;

/// What inspect tells of a job.
#[derive(Debug, Default)]
struct Ticks {
    iteration: u64,
    last: Tick,
    skipped: Tick,
    next: Tick,
}

fn ticks(engine: &impl Engine, name: &str) -> Ticks {
    try_ticks(engine, name).expect("an answer")
}

/// Without a leader there is no answer.
fn try_ticks(engine: &impl Engine, name: &str) -> Option<Ticks> {
    let answer = engine.docker(&["service", "inspect", name]);
    let services: Value = serde_json::from_str(&answer.stdout).ok()?;
    let service = services.get(0)?;
    let iteration = service["JobStatus"]["JobIteration"]["Index"].as_u64().unwrap_or_default();
    let message = service["UpdateStatus"]["Message"].as_str().unwrap_or_default();
    let tick = |what: &str| {
        let part = message.split(", ").find_map(|part| part.strip_prefix(what));
        part.map(|at| at.trim().to_owned())
    };
    let (last, skipped, next) = (tick("last tick"), tick("last skipped tick"), tick("next tick"));
    Some(Ticks { iteration, last, skipped, next })
}

fn iteration(engine: &impl Engine, name: &str) -> u64 {
    ticks(engine, name).iteration
}

/// Waits until an iteration is begun.
#[track_caller]
fn await_iteration(engine: &impl Engine, name: &str, least: u64) {
    wait_until(PATIENCE, &format!("iteration {least} of {name}"), || {
        (iteration(engine, name) >= least).then_some(())
    });
}

#[test]
fn a_job_runs_at_each_tick_and_says_when() {
    if !can_run() {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster[0];
    let job = ["--mode", "replicated-job"];
    let often = ["--label", "swarm.cron=*/2 * * * * *"];
    let rarely =
        ["--label", "swarm.cron=30 2 * * *", "--label", "swarm.cron.timezone=Europe/Berlin"];
    create(manager, "often", &[&job[..], &often].concat(), "echo ran").ok();
    create(manager, "rarely", &[&job[..], &rarely].concat(), "true").ok();
    create(manager, "busy", &[&["--mode", "global-job"], &often[..]].concat(), "sleep 600").ok();

    // The first run is at the first tick, and what it prints is that of each run.
    await_iteration(manager, "often", 2);
    await_output(manager, &["service", "logs", "--raw", "often"], |logs| {
        logs.matches("ran").count() >= 3
    });
    let even = |tick: &Tick| {
        tick.as_ref()
            .is_some_and(|at| ["0Z", "2Z", "4Z", "6Z", "8Z"].iter().any(|end| at.ends_with(end)))
    };
    let often = ticks(manager, "often");
    assert!(even(&often.last) && even(&often.next), "{often:?}");

    // One that is not due waits, unless it is told to run; a change alone does not run it.
    let ps = ["service", "ps", "--quiet", "rarely"];
    assert_eq!(manager.docker(&ps).ok(), "");
    let next = ticks(manager, "rarely").next;
    assert!(next.as_deref().is_some_and(|at| at.ends_with(":30:00Z")), "{next:?}");
    manager.docker(&["service", "update", "--detach", "--env-add", "A=b", "rarely"]).ok();
    assert_eq!(manager.docker(&ps).ok(), "");
    let said = manager.docker(&["service", "update", "--force", "rarely"]).ok();
    assert!(said.contains("job complete"), "{said}");
    assert_eq!(ticks(manager, "rarely").next, next);

    // One that still runs is not run again.
    let skipped = wait_until(PATIENCE, "a tick that is skipped", || ticks(manager, "busy").skipped);
    assert_eq!(iteration(manager, "busy"), 0, "skipped at {skipped}");

    // Old runs are forgotten, up to the history that the cluster keeps.
    await_iteration(manager, "often", 6);
    let tasks = manager.docker(&["service", "ps", "--quiet", "often"]).ok();
    assert!(tasks.lines().count() <= 6, "{tasks}");

    // Without the label there are no more ticks.
    manager.docker(&["service", "update", "--detach", "--label-rm", "swarm.cron", "often"]).ok();
    wait_until(PATIENCE, "no tick", || ticks(manager, "often").next.is_none().then_some(()));
}

#[test]
fn a_schedule_that_cannot_be_followed_is_refused() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let job = ["--mode", "replicated-job"];
    for (flags, expect) in [
        (&["--label", "swarm.cron=@hourly"][..], "only jobs have a schedule"),
        (&[&job[..], &["--label", "swarm.cron=often"]].concat(), "expected five fields"),
        (&[&job[..], &["--label", "swarm.cron=0 0 31 2 *"]].concat(), "this time never comes"),
        (
            &[&job[..], &["--label", "swarm.cron=@daily", "--label", "swarm.cron.timezone=Mars"]]
                .concat(),
            "no such time zone",
        ),
    ] {
        let refused = create(&cluster[0], "job", flags, "true").refused();
        assert!(refused.contains(expect), "{refused}");
    }
    assert_eq!(cluster[0].docker(&["service", "ls", "--quiet"]).ok(), "");
}

#[test]
fn no_tick_runs_twice_when_leaders_are_killed() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    cluster.load(&swarm_testkit::busybox_image_tar(IMAGE));
    let flags = ["--mode", "replicated-job", "--label", "swarm.cron=* * * * * *"];
    let first = leader(&cluster, 0);
    create(&cluster[first], "job", &flags, "date +%s").ok();
    let mut runs = BTreeMap::new();
    let mut lead = first;
    for _ in 0..2 {
        let before = iteration(&cluster[lead], "job");
        await_iteration(&cluster[lead], "job", before + 2);
        cluster[lead].kill();
        let asked = (lead + 1) % 3;
        wait_until(PATIENCE, "the job to go on", || {
            let now = try_ticks(&cluster[asked], "job")?;
            let tick = now.last?;
            let known = runs.entry(now.iteration).or_insert_with(|| tick.clone());
            assert_eq!(*known, tick, "an iteration is of one tick");
            (now.iteration > before + 4).then_some(())
        });
        cluster[lead].restart();
        lead = leader(&cluster, asked);
    }
    let distinct: BTreeSet<_> = runs.values().collect();
    assert_eq!(distinct.len(), runs.len(), "a tick started two iterations: {runs:?}");
    assert!(runs.values().is_sorted(), "{runs:?}");
}

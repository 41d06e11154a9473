//! Services that fail again and again: their restarts wait longer and longer, say so, and leave little behind.

use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Engine, busybox_image_tar, wait_until};

use crate::managers::leader;
use crate::support::{IMAGE, PATIENCE, await_output, can_run, swarm};

fn create(manager: &impl Engine, name: &str, flags: &[&str], script: &str) {
    let start = ["service", "create", "--detach", "--name", name];
    manager.docker(&[&start[..], flags, &[IMAGE, "sh", "-c", script]].concat()).ok();
}

/// What the tasks say that wait for their restart.
fn reasons(service: &str) -> [&str; 8] {
    let format = "{{.CurrentState}}|{{.Error}}";
    ["service", "ps", "--no-trunc", "--filter", "desired-state=ready", "--format", format, service]
}

#[test]
fn restarts_wait_longer_and_say_so_also_after_their_leader() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    cluster.load(&busybox_image_tar(IMAGE));
    let backoff = ["--label", "swarm.restart.backoff=1m", "--restart-delay", "1s"];
    let refused = cluster[0].docker(&[
        "service",
        "create",
        "--detach",
        "--label",
        "swarm.restart.backoff=4s",
        IMAGE,
    ]);
    let problem =
        "label swarm.restart.backoff=\"4s\": it is the longest delay, and must not be below";
    assert!(refused.stderr.contains(problem), "{}", refused.stderr);
    create(&cluster[0], "loops", &backoff, "exit 3");
    create(&cluster[0], "plain", &["--restart-delay", "20s"], "exit 4");
    await_output(&cluster[0], &reasons("plain"), |said| {
        said.starts_with("Ready")
            && said.contains("|\"restarts at ")
            && said.ends_with(" UTC: task: non-zero exit (4)\"")
    });
    await_output(&cluster[0], &reasons("loops"), |said| {
        said.contains(" after 3 failures in a row: task: non-zero exit (3)")
    });
    let lost = leader(&cluster, 0);
    cluster[lost].kill();
    let asked = (lost + 1) % 3;
    // Not sooner than after 4 s and then 8 s, and not from the beginning.
    await_output(&cluster[asked], &reasons("loops"), |said| {
        said.contains(" after 4 failures in a row: ")
    });
    let fourth = Instant::now();
    await_output(&cluster[asked], &reasons("loops"), |said| {
        said.contains(" after 5 failures in a row: ")
    });
    let waited = fourth.elapsed();
    assert!(
        waited > Duration::from_secs(5),
        "only {waited:?} between the fourth failure and the fifth"
    );
    cluster[lost].restart();
}

#[test]
fn a_loop_without_delay_leaves_little_behind() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    let refused =
        manager.docker(&["node", "update", "--label-add", "swarm.task-history-limit=few", "node1"]);
    let problem = "label swarm.task-history-limit=\"few\": it is a number of 1 or more";
    assert!(refused.stderr.contains(problem), "{}", refused.stderr);
    let flags = ["--restart-delay", "0s", "--replicas", "2"];
    let loops = ["loop1", "loop2", "loop3"];
    loops.iter().for_each(|name| create(manager, name, &flags, "exit 1"));
    let containers = || manager.docker(&["ps", "--all", "--quiet"]).ok().lines().count();
    let newest = || manager.docker(&["service", "ps", "--quiet", "loop3"]).ok();
    // Each slot has its five, and what is about to come or go.
    wait_until(PATIENCE, "the loops to have a history", || (containers() >= 25).then_some(()));
    let first = newest();
    wait_until(PATIENCE, "the loops to have gone round", || {
        let count = containers();
        assert!(count <= 6 * 8, "{count} containers");
        first.lines().all(|task| !newest().contains(task)).then_some(())
    });
    manager.docker(&["node", "update", "--label-add", "swarm.task-history-limit=8", "node1"]).ok();
    wait_until(PATIENCE, "the node to have few finished tasks", || {
        let count = containers();
        (count <= 8 + 12).then_some(())
    });
    let tasks: usize = loops
        .iter()
        .map(|name| manager.docker(&["service", "ps", "--quiet", name]).ok().lines().count())
        .sum();
    assert!(tasks <= 8 + 12, "{tasks} tasks");
}

//! Nodes that are cut off: services that let their tasks be, and services that take them back.

use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Engine, wait_until};

use crate::support::{IMAGE, PATIENCE, await_nodes, await_running, can_run, swarm};

/// A service of four tasks that sleep, on three nodes.
fn create(cluster: &Cluster, name: &str, labels: &[&str]) {
    let start = ["service", "create", "--detach", "--name", name, "--replicas", "4"];
    let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", *label]).collect();
    let arguments = [&start[..], &labels, &[IMAGE, "sleep", "3600"]].concat();
    cluster[0].docker(&arguments).ok();
    await_running(&cluster[0], name, 4);
}

/// The tasks that are to run.
fn tasks(engine: &impl Engine, name: &str) -> Vec<String> {
    let filter = ["service", "ps", "--quiet", "--no-trunc", "--filter", "desired-state=running"];
    let listed = engine.docker(&[&filter[..], &[name]].concat()).ok();
    let mut tasks: Vec<String> = listed.lines().map(str::to_owned).collect();
    tasks.sort();
    tasks
}

/// The containers of a node, and since when they run.
fn containers(engine: &impl Engine) -> Vec<String> {
    let ids = engine.docker(&["ps", "--quiet", "--no-trunc"]).ok();
    let ids: Vec<&str> = ids.lines().collect();
    let format = ["inspect", "--format", "{{.Id}} {{.State.StartedAt}}"];
    let listed = engine.docker(&[&format[..], &ids].concat()).ok();
    let mut containers: Vec<String> = listed.lines().map(str::to_owned).collect();
    containers.sort();
    containers
}

const ALL: [&str; 3] = ["node1: Ready Leader", "node2: Ready", "node3: Ready"];
const CUT: [&str; 3] = ["node1: Ready Leader", "node2: Ready", "node3: Down"];

#[test]
fn no_task_is_restarted_through_a_partition() {
    if !can_run() {
        return;
    }
    let cluster = swarm(3);
    create(&cluster, "held", &["swarm.hold=1h"]);
    create(&cluster, "short", &["swarm.hold=3s"]);
    create(&cluster, "plain", &[]);
    let (held, short) = (tasks(&cluster[0], "held"), tasks(&cluster[0], "short"));
    let on_third = containers(&cluster[2]);
    cluster[2].host().cut_off();
    await_nodes(&cluster[0], &CUT);
    let down = Instant::now();
    // What has no hold is elsewhere at once, what has a short one soon, what has a long one not at all.
    await_running(&cluster[0], "plain", 4);
    wait_until(PATIENCE, "the short hold to end", || {
        (tasks(&cluster[0], "short") != short).then_some(())
    });
    assert!(down.elapsed() > Duration::from_secs(2), "{:?}", down.elapsed());
    assert_eq!(tasks(&cluster[0], "held"), held);
    // Scaling goes on meanwhile.
    cluster[0].docker(&["service", "scale", "--detach", "held=5"]).ok();
    wait_until(PATIENCE, "one more", || (tasks(&cluster[0], "held").len() == 5).then_some(()));
    cluster[2].host().reconnect();
    await_nodes(&cluster[0], &ALL);
    await_running(&cluster[0], "held", 5);
    let after = tasks(&cluster[0], "held");
    assert!(held.iter().all(|id| after.contains(id)), "{held:?} {after:?}");
    // Those of the other services stop; of the held one, no container was started again.
    let kept = wait_until(PATIENCE, "the replaced to stop", || {
        let now = containers(&cluster[2]);
        (now.len() < on_third.len()).then_some(now)
    });
    assert!(kept.iter().filter(|it| on_third.contains(it)).count() >= 1, "{kept:?}");
    // A drained node's tasks are not held.
    cluster[2].host().cut_off();
    await_nodes(&cluster[0], &CUT);
    cluster[0].docker(&["node", "update", "--availability", "drain", "node3"]).ok();
    await_running(&cluster[0], "held", 5);
}

#[test]
fn an_original_comes_back_if_it_is_preferred() {
    if !can_run() {
        return;
    }
    let cluster = swarm(3);
    create(&cluster, "home", &["swarm.return=original"]);
    create(&cluster, "docker", &[]);
    let (home, docker) = (tasks(&cluster[0], "home"), tasks(&cluster[0], "docker"));
    cluster[2].host().cut_off();
    await_nodes(&cluster[0], &CUT);
    await_running(&cluster[0], "home", 4);
    await_running(&cluster[0], "docker", 4);
    assert_ne!(tasks(&cluster[0], "home"), home);
    cluster[2].host().reconnect();
    await_nodes(&cluster[0], &ALL);
    wait_until(PATIENCE, "the originals alone", || {
        (tasks(&cluster[0], "home") == home).then_some(())
    });
    await_running(&cluster[0], "home", 4);
    assert_ne!(tasks(&cluster[0], "docker"), docker);
}

#[test]
fn a_bad_hold_is_refused() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    for (label, expect) in [
        ("swarm.hold=forever", "expected a duration from 0s to 24h"),
        ("swarm.return=sometimes", "expected newest or original"),
    ] {
        let create = ["service", "create", "--detach", "--label", label, IMAGE, "true"];
        let refused = cluster[0].docker(&create).refused();
        assert!(refused.contains(expect), "{refused}");
    }
}

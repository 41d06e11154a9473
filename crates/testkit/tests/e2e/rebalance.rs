//! Tasks that are moved because their service asks for it: to a node that is back, and off a node that is drained.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the tests with --nocapture")]

use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Daemon, Engine, wait_until};

use crate::support::{
    IMAGE, PATIENCE, await_nodes_as, await_output, await_running, await_spread, can_run, spread,
    swarm,
};

fn create(daemon: &Daemon, name: &str, replicas: &str, flags: &[&str]) {
    let create = ["service", "create", "--detach", "--name", name, "--replicas", replicas];
    // A shell that takes SIGTERM, which the first process of a container ignores otherwise.
    let script = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"];
    daemon.docker(&[&create[..], flags, &[IMAGE], &script].concat()).ok();
}

/// How many tasks of the service run, as `docker service ls` has it.
fn running(daemon: &Daemon, name: &str) -> usize {
    let filter = format!("name={name}");
    let list = ["service", "ls", "--filter", &filter, "--format", "{{.Replicas}}"];
    let replicas = daemon.docker(&list).ok();
    let count = replicas.split('/').next().and_then(|count| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("{replicas:?} is no number of replicas"))
}

/// Waits until the nodes run so many tasks each, in any order, and never less than `least` together; returns how long
/// that took.
fn watch(daemon: &Daemon, name: &str, least: usize, wanted: &[usize]) -> Duration {
    let start = Instant::now();
    wait_until(PATIENCE, &format!("{name} to be spread as {wanted:?}"), || {
        let running = running(daemon, name);
        assert!(running >= least, "{running} of {least} run");
        let mut counts: Vec<usize> = spread(daemon, name).into_values().collect();
        counts.sort_unstable();
        (counts == wanted).then_some(())
    });
    start.elapsed()
}

/// What is said of the tasks of a service that run on a node.
fn messages(daemon: &Daemon, name: &str, node: &str) -> Vec<String> {
    let filter = format!("node={node}");
    let list = ["service", "ps", name, "--quiet", "--no-trunc", "--filter", &filter];
    let running = ["--filter", "desired-state=running"];
    let tasks = daemon.docker(&[&list[..], &running].concat()).ok();
    let inspect = |id: &str| {
        let inspect = ["inspect", "--type", "task", "--format", "{{.Status.Message}}", id];
        daemon.docker(&inspect).ok().trim().to_owned()
    };
    tasks.lines().map(inspect).collect()
}

fn three_nodes() -> Cluster {
    let cluster = swarm(3);
    let ready = ["node1: Ready", "node2: Ready", "node3: Ready"];
    await_nodes_as(&cluster[0], &ready, |line| {
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    });
    cluster
}

#[test]
fn a_service_is_spread_evenly_again_when_a_node_is_back() {
    if !can_run() {
        return;
    }
    let cluster = three_nodes();
    let labels = ["--label", "swarm.rebalance=true", "--label", "swarm.rebalance.cooldown=2s"];
    create(&cluster[0], "web", "6", &labels);
    create(&cluster[0], "still", "6", &[]);
    for name in ["web", "still"] {
        await_spread(&cluster[0], name, &[("node1", 2), ("node2", 2), ("node3", 2)]);
    }
    cluster[2].host().cut_off();
    for name in ["web", "still"] {
        await_spread(&cluster[0], name, &[("node1", 3), ("node2", 3)]);
    }
    cluster[2].host().reconnect();
    let node3 = ["node", "inspect", "node3", "--format", "{{.Status.State}}"];
    await_output(&cluster[0], &node3, |state| state.trim() == "ready");
    let took = watch(&cluster[0], "web", 6, &[2, 2, 2]);
    println!("even {took:?} after the node was back, of which 2 s cool-down");
    assert_eq!(spread(&cluster[0], "still").get("node3"), None, "who does not ask is not moved");
    let mut said = messages(&cluster[0], "web", "node3");
    said.sort();
    let moved =
        |node: usize| format!("started; moved from node node{node} to rebalance the service");
    assert_eq!(said, [moved(1), moved(2)]);
    await_running(&cluster[0], "web", 6);
}

#[test]
fn a_drained_node_is_left_without_a_gap() {
    if !can_run() {
        return;
    }
    let cluster = three_nodes();
    let start_first = ["--label", "swarm.drain=start-first"];
    create(&cluster[0], "web", "9", &[&start_first[..], &["--update-parallelism", "2"]].concat());
    let there = ["--constraint", "node.hostname==node3"];
    create(&cluster[0], "bound", "1", &[&start_first[..], &there].concat());
    await_spread(&cluster[0], "web", &[("node1", 3), ("node2", 3), ("node3", 3)]);
    await_spread(&cluster[0], "bound", &[("node3", 1)]);

    cluster[0].docker(&["node", "update", "--availability", "drain", "node3"]).ok();
    let took = watch(&cluster[0], "web", 9, &[4, 5]);
    println!("drained {took:?}");
    assert_eq!(spread(&cluster[0], "web").get("node3"), None);
    assert!(
        messages(&cluster[0], "web", "node1")
            .iter()
            .any(|message| { message == "started; moved from node node3, which is drained" })
    );
    // What has no other place stays, and says why.
    let columns = "{{.Node}} {{.DesiredState}} {{.CurrentState}} {{.Error}}";
    let tasks = ["service", "ps", "bound", "--no-trunc", "--format", columns];
    let lines = await_output(&cluster[0], &tasks, |text| text.contains("no suitable node"));
    assert!(lines.contains("scheduling constraints not satisfied on 2 nodes"), "{lines}");
    assert_eq!(spread(&cluster[0], "bound").get("node3"), Some(&1), "{lines}");
    cluster[0].docker(&["node", "update", "--availability", "active", "node3"]).ok();
    await_output(&cluster[0], &tasks, |text| text.lines().count() == 1);
    assert_eq!(spread(&cluster[0], "bound").get("node3"), Some(&1));
}

#[test]
fn what_is_not_healthy_elsewhere_stays_where_it_is() {
    if !can_run() {
        return;
    }
    let cluster = three_nodes();
    let labels = ["--label", "swarm.rebalance=true", "--label", "swarm.rebalance.cooldown=0s"];
    let health = [
        ["--env", "NODE={{.Node.Hostname}}"],
        ["--health-cmd", "test $NODE != node3"],
        ["--health-interval", "500ms"],
        ["--health-retries", "1"],
    ];
    let pause = ["node", "update", "--availability", "pause", "node3"];
    cluster[0].docker(&pause).ok();
    create(&cluster[0], "web", "4", &[&labels[..], health.as_flattened()].concat());
    await_spread(&cluster[0], "web", &[("node1", 2), ("node2", 2)]);
    cluster[0].docker(&["node", "update", "--availability", "active", "node3"]).ok();
    let columns = "{{.Node}} {{.CurrentState}} {{.Error}}";
    let tasks = ["service", "ps", "web", "--no-trunc", "--format", columns];
    await_output(&cluster[0], &tasks, |text| {
        assert!(running(&cluster[0], "web") >= 4, "{text}");
        text.lines().any(|line| line.starts_with("node3 Failed") && line.contains("unhealthy"))
    });
    assert_eq!(spread(&cluster[0], "web").into_values().collect::<Vec<_>>(), [2, 2]);
    // What has failed is not tried again at once.
    let tried = cluster[0].docker(&tasks).ok();
    assert_eq!(tried.lines().filter(|line| line.starts_with("node3")).count(), 1, "{tried}");
}

#[test]
fn labels_that_cannot_be_followed_are_refused() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    for (flags, expect) in [
        (
            &["--label", "swarm.rebalance=yes"][..],
            "label swarm.rebalance=\"yes\": it is either \"true\" or \"false\"",
        ),
        (
            &["--label", "swarm.drain=start-first", "--mode", "global"],
            "label swarm.drain=\"start-first\": only tasks of replicated services can be moved between nodes",
        ),
    ] {
        let create = ["service", "create", "--detach", "--name", "web"];
        let output = cluster[0].docker(&[&create[..], flags, &[IMAGE, "true"]].concat());
        assert!(!output.success() && output.stderr.contains(expect), "{}", output.stderr);
    }
    assert_eq!(cluster[0].docker(&["service", "ls", "--quiet"]).ok().trim(), "");
}

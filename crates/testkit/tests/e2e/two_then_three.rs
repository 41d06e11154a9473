//! Seed 002 as its author lived it: two managers, one powered off and nothing goes; a third one, and all goes on. Then
//! a manager is drained.

use std::time::Instant;

use swarm_testkit::{Cluster, Engine, busybox_image_tar};

use crate::support::{
    IMAGE, PATIENCE, await_output, await_running, await_spread, can_run, spread, table,
};

/// `docker node ls` as hostname, status and manager status of each node.
const NODES: [&str; 4] =
    ["node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}"];

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.sort_unstable();
    lines
}

fn create(cluster: &Cluster, at: usize) {
    let create = ["service", "create", "--detach", "--replicas", "5", "--name", "helloworld"];
    let quick = ["--stop-signal", "SIGKILL"];
    let id = cluster[at].docker(&[&create[..], &quick, &[IMAGE, "ping", "127.0.0.1"]].concat());
    assert_eq!(id.ok().len(), 25, "the ID, and nothing else");
}

/// Joins as a manager; what the command says.
fn join(cluster: &Cluster, at: usize, through: usize) -> String {
    let token = cluster[through].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    let address = format!("{}:2377", cluster[through].host().address());
    cluster[at].docker(&["swarm", "join", "--token", &token, &address]).ok()
}

#[test]
fn two_managers_stand_still_without_one_and_three_go_on() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::start(3);
    cluster.load(&busybox_image_tar(IMAGE));
    let address = cluster[0].host().address().to_string();
    let said = cluster[0].docker(&["swarm", "init", "--advertise-addr", &address]).ok();
    assert!(said.contains("is now a manager"), "{said}");
    assert_eq!(join(&cluster, 1, 0), "This node joined a swarm as a manager.");
    await_output(&cluster[1], &NODES, |text| {
        sorted(text) == ["node1 Ready Active Leader", "node2 Ready Active Reachable"]
    });
    create(&cluster, 1);
    await_running(&cluster[1], "helloworld", 5);
    assert_eq!(spread(&cluster[0], "helloworld").len(), 2);

    // The leader is powered off: two managers tolerate no loss, and say so.
    cluster[0].kill_machine();
    let refused = await_output(&cluster[1], &["node", "ls"], |text| text.contains("leader"));
    assert!(refused.contains("The swarm does not have a leader"), "{refused}");
    // Its containers go on all the same; and with it back the lost tasks come up again.
    let local = cluster[1].docker(&["ps", "--quiet"]).ok();
    assert!(!local.is_empty());
    cluster[0].restart();
    await_output(&cluster[1], &NODES, |text| {
        let ready = text.matches("Ready Active").count();
        ready == 2 && text.contains("Leader") && text.contains("Reachable")
    });
    await_running(&cluster[1], "helloworld", 5);

    // A third manager.
    assert_eq!(join(&cluster, 2, 1), "This node joined a swarm as a manager.");
    await_output(&cluster[2], &NODES, |text| {
        text.matches("Ready Active").count() == 3 && text.matches("Reachable").count() == 2
    });
    cluster[0].docker(&["service", "rm", "helloworld"]).ok();
    await_output(&cluster[0], &["ps", "--all", "--quiet"], str::is_empty);
    create(&cluster, 0);
    cluster[0].docker(&["service", "scale", "--detach", "helloworld=10"]).ok();
    await_running(&cluster[0], "helloworld", 10);
    assert_eq!(spread(&cluster[0], "helloworld").len(), 3);

    // The first is powered off again, leader or not.
    cluster[0].kill_machine();
    let lost = Instant::now();
    await_output(&cluster[1], &NODES, |text| {
        text.contains("node1 Down Active Unreachable") && text.contains("Leader")
    });
    await_spread(&cluster[1], "helloworld", &[("node2", 5), ("node3", 5)]);
    let elapsed = lost.elapsed();
    assert!(elapsed < PATIENCE, "{elapsed:?}");
    let tasks = table(&cluster[1].docker(&["service", "ps", "helloworld"]).ok());
    let shut_down = tasks.iter().filter(|task| task[4] == "Shutdown" && task[3] == "node1");
    assert!(shut_down.count() >= 3, "{tasks:?}");

    // A manager is drained, and goes on managing.
    cluster[2].docker(&["node", "update", "--availability", "drain", "node3"]).ok();
    await_spread(&cluster[2], "helloworld", &[("node2", 10)]);
    await_output(&cluster[2], &["ps", "--quiet"], str::is_empty);
    cluster[2].docker(&["service", "scale", "--detach", "helloworld=1"]).ok();
    await_spread(&cluster[2], "helloworld", &[("node2", 1)]);
    cluster[0].restart();
    await_output(&cluster[0], &NODES, |text| {
        text.contains("node1 Ready Active Reachable") && text.contains("node3 Ready Drain")
    });
    cluster[0].docker(&["service", "scale", "--detach", "helloworld=20"]).ok();
    await_spread(&cluster[0], "helloworld", &[("node1", 10), ("node2", 10)]);
    cluster[0].docker(&["node", "update", "--availability", "active", "node3"]).ok();
    cluster[0].docker(&["service", "scale", "--detach", "helloworld=30"]).ok();
    await_spread(&cluster[0], "helloworld", &[("node1", 10), ("node2", 10), ("node3", 10)]);
}

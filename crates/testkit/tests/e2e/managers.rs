//! Several managers: joining, the loss of the leader, roles, and a lost quorum.

use std::time::Duration;

use swarm_testkit::{Cluster, Daemon, Engine, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// `docker node ls` of a daemon as `hostname: status manager-status`, sorted.
fn nodes(daemon: &Daemon) -> Vec<String> {
    let format = "{{.Hostname}}: {{.Status}} {{.ManagerStatus}}";
    let output = daemon.docker(&["node", "ls", "--format", format]);
    let mut lines: Vec<String> = output.stdout.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn three_managers_see_each_other() {
    let cluster = Cluster::swarm_of(3, 0);
    let expect = ["node1: Ready Leader", "node2: Ready Reachable", "node3: Ready Reachable"];
    for daemon in cluster.daemons() {
        wait_until(SOON, "all managers in the list", || (nodes(daemon) == expect).then_some(()));
    }
    // Written through one, read through another.
    cluster[2]
        .docker(&["service", "create", "--detach", "--replicas", "0", "--name", "s", "x"])
        .ok();
    assert_eq!(cluster[1].docker(&["service", "ls", "--format", "{{.Name}}"]).ok(), "s");
}

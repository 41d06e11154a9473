//! The story of seed 002: five tasks, ten, a machine lost, a node drained, one task, twenty, thirty.

use std::time::{Duration, Instant};

use swarm_testkit::Engine;

use crate::support::{
    IMAGE, PATIENCE, await_output, await_running, await_spread, can_run, spread, swarm, table,
};
use swarm_testkit::wait_until;

/// The promise is 5 s; the rest is for a machine that runs other tests meanwhile.
const REPLACEMENT_MAX: Duration = Duration::from_secs(8);

#[test]
fn a_service_survives_a_lost_machine_and_a_drained_node() {
    if !can_run() {
        return;
    }
    let mut cluster = swarm(3);
    let create = ["service", "create", "--detach", "--replicas", "5", "--name", "helloworld"];
    let grace = ["--stop-grace-period", "2s"];
    let created =
        cluster[0].docker(&[&create[..], &grace, &["alpine", "ping", "127.0.0.1"]].concat());
    assert_eq!(created.ok().len(), 25, "the ID, and nothing else");
    await_running(&cluster[0], "helloworld", 5);
    assert_eq!(scale(&cluster[0], 10), "helloworld scaled to 10");
    await_running(&cluster[0], "helloworld", 10);
    let even: Vec<usize> = spread(&cluster[0], "helloworld").into_values().collect();
    assert!(even.len() == 3 && even.iter().all(|&count| count == 3 || count == 4), "{even:?}");
    compare_columns(&cluster[0]);

    cluster[1].kill_machine();
    let start = Instant::now();
    await_spread(&cluster[0], "helloworld", &[("node1", 5), ("node3", 5)]);
    assert!(start.elapsed() < REPLACEMENT_MAX, "replaced after {:?}", start.elapsed());
    assert_eq!(cell(&cluster[0], "node2", "{{.Status}}"), "Down");

    cluster[0].docker(&["node", "update", "--availability", "drain", "node3"]).ok();
    await_spread(&cluster[0], "helloworld", &[("node1", 10)]);
    assert_eq!(cell(&cluster[0], "node3", "{{.Availability}}"), "Drain");
    wait_until(PATIENCE, "the drained node to be empty", || {
        cluster[2].docker(&["ps", "--quiet"]).ok().is_empty().then_some(())
    });
    scale(&cluster[0], 1);
    await_spread(&cluster[0], "helloworld", &[("node1", 1)]);

    cluster[1].restart();
    await_output(
        &cluster[0],
        &["node", "inspect", "node2", "--format", "{{.Status.State}}"],
        |state| state == "ready",
    );
    scale(&cluster[0], 20);
    await_spread(&cluster[0], "helloworld", &[("node1", 10), ("node2", 10)]);
    cluster[0].docker(&["node", "update", "--availability", "active", "node3"]).ok();
    scale(&cluster[0], 30);
    await_spread(&cluster[0], "helloworld", &[("node1", 10), ("node2", 10), ("node3", 10)]);

    assert_eq!(cluster[0].docker(&["service", "rm", "helloworld"]).ok(), "helloworld");
    for node in cluster.daemons() {
        await_output(node, &["ps", "--all", "--quiet"], str::is_empty);
    }
}

/// What `service ls`, `service ps` and `node ls` print, column by column as with Docker.
fn compare_columns(manager: &impl Engine) {
    let services = table(&manager.docker(&["service", "ls"]).ok());
    assert_eq!(services[0], ["ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS"]);
    assert_eq!(services[1][0].len(), 12);
    assert_eq!(services[1][1..], ["helloworld", "replicated", "10/10", IMAGE, ""]);

    let tasks = table(&manager.docker(&["service", "ps", "helloworld"]).ok());
    let header =
        ["ID", "NAME", "IMAGE", "NODE", "DESIRED STATE", "CURRENT STATE", "ERROR", "PORTS"];
    assert_eq!(tasks[0], header);
    assert_eq!(tasks.len(), 11);
    for (slot, task) in tasks[1..].iter().enumerate() {
        assert_eq!(task[0].len(), 12, "{task:?}");
        assert_eq!(task[1..3], [format!("helloworld.{}", slot + 1), IMAGE.to_owned()]);
        assert!(["node1", "node2", "node3"].contains(&task[3].as_str()), "{task:?}");
        assert_eq!(task[4], "Running");
        assert!(task[5].starts_with("Running ") && task[5].ends_with(" ago"), "{task:?}");
        assert_eq!(task[6..], ["", ""], "neither error nor ports");
    }

    let nodes = table(&manager.docker(&["node", "ls"]).ok());
    let header = ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS", "ENGINE VERSION"];
    assert_eq!(nodes[0], header);
    for node in &nodes[1..] {
        let (id, itself) = (&node[0][..25], node[0].ends_with(" *"));
        assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{node:?}");
        assert_eq!(itself, node[1] == "node1", "the star marks the node that is asked");
        assert_eq!(node[2..4], ["Ready", "Active"]);
        assert_eq!(node[4], if itself { "Leader" } else { "" });
        assert!(!node[5].is_empty(), "{node:?}");
    }
}

fn scale(manager: &impl Engine, replicas: usize) -> String {
    let wanted = format!("helloworld={replicas}");
    manager.docker(&["service", "scale", "--detach", &wanted]).ok()
}

fn cell(manager: &impl Engine, node: &str, column: &str) -> String {
    let filter = format!("name={node}");
    manager.docker(&["node", "ls", "--filter", &filter, "--format", column]).ok()
}

//! Coming, going and being refused: tokens, joining twice, leaving, and what a worker doesn't answer.

use swarm_testkit::{Cluster, Daemon, Engine};

use crate::support::{await_output, can_run};

const IN_A_SWARM: &str = "This node is already part of a swarm. Use \"docker swarm leave\" to leave \
                          this swarm and join another one.";
const WORKER: &str = "This node is not a swarm manager. Worker nodes can't be used to view or modify \
                      cluster state. Please run this command on a manager node or promote the current \
                      node to a manager.";
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                        join\" to connect this node to swarm and try again.";

#[test]
fn nodes_join_leave_and_are_removed() {
    if !can_run() {
        return;
    }
    let cluster = Cluster::start(3);
    let [manager, worker, other] = cluster.daemons() else { panic!("three daemons") };
    refused(manager, &["node", "ls"], NO_SWARM);
    let address = manager.host().address().to_string();
    let said = manager.docker(&["swarm", "init", "--advertise-addr", &address]).ok();
    assert!(said.starts_with("Swarm initialized: current node ("), "{said}");
    assert!(said.contains(") is now a manager."), "{said}");
    assert!(said.contains("docker swarm join --token SWMTKN-1-"), "{said}");
    refused(manager, &["swarm", "init"], IN_A_SWARM);

    let token = token(manager, &[]);
    assert_eq!(join(worker, &token).ok(), "This node joined a swarm as a worker.");
    let twice = join(worker, &token).refused();
    assert!(twice.contains(IN_A_SWARM), "{twice}");
    for question in [&["node", "ls"][..], &["service", "ls"], &["swarm", "join-token", "worker"]] {
        refused(worker, question, WORKER);
    }
    assert_eq!(
        worker
            .docker(&["info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"])
            .ok(),
        "active false"
    );

    wrong_tokens(manager, other, &token);

    refused(manager, &["node", "rm", "node2"], "is not down and can't be removed");
    assert_eq!(worker.docker(&["swarm", "leave"]).ok(), "Node left the swarm.");
    await_output(manager, &["node", "inspect", "node2", "--format", "{{.Status.State}}"], |s| {
        s == "down"
    });
    assert_eq!(manager.docker(&["node", "rm", "node2"]).ok(), "node2");
    assert_eq!(manager.docker(&["node", "ls", "--format", "{{.Hostname}}"]).ok(), "node1");
    refused(worker, &["node", "ls"], NO_SWARM);
    refused(worker, &["swarm", "leave"], "This node is not part of a swarm");

    refused(
        manager,
        &["swarm", "leave"],
        "You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message.",
    );
    assert_eq!(manager.docker(&["swarm", "leave", "--force"]).ok(), "Node left the swarm.");
    refused(manager, &["node", "ls"], NO_SWARM);
    manager.docker(&["swarm", "init", "--advertise-addr", &address]).ok();
    assert_ne!(self::token(manager, &[]), token, "a new swarm has a new CA");
}

/// Its own `docker info` tells a worker's user why it is alone.
#[test]
fn a_worker_says_that_it_is_alone_or_removed() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(1, 2);
    let error = ["info", "--format", "{{.Swarm.Error}}"];
    let [manager, worker, _] = cluster.daemons() else { panic!("three daemons") };
    await_output(worker, &error, |said| said.is_empty());
    manager.docker(&["node", "rm", "--force", "node2"]).ok();
    await_output(worker, &error, |said| said.starts_with("this node was removed from the swarm"));
    worker.docker(&["swarm", "leave"]).ok();
    assert_eq!(worker.docker(&error).ok(), "");

    cluster[0].kill();
    await_output(&cluster[2], &error, |said| said.starts_with("no manager"));
    cluster[0].restart();
    await_output(&cluster[2], &error, |said| said.is_empty());
}

/// Tokens that name another CA, that are broken, or that were rotated away open nothing.
fn wrong_tokens(manager: &Daemon, other: &Daemon, token: &str) {
    let parts: Vec<&str> = token.split('-').collect();
    let foreign = format!("{}-{}-{}-{}", parts[0], parts[1], "1".repeat(50), parts[3]);
    let secret = format!("{}-{}-{}-{}", parts[0], parts[1], parts[2], "0".repeat(25));
    for (token, reason) in [
        (foreign.as_str(), "remote CA does not match fingerprint"),
        (secret.as_str(), "A valid join token is necessary to join this cluster"),
        ("nonsense", "invalid join token"),
    ] {
        let said = join(other, token).refused();
        assert!(said.contains(reason), "{token}: {said}");
        assert_eq!(state(other), "inactive", "nothing is left of a join that failed");
    }
    let rotated = self::token(manager, &["--rotate"]);
    assert_ne!(rotated, token);
    assert!(rotated.starts_with(&format!("SWMTKN-1-{}-", parts[2])), "the CA stays");
    let said = join(other, token).refused();
    assert!(said.contains("A valid join token is necessary"), "{said}");
    assert_eq!(join(other, &rotated).ok(), "This node joined a swarm as a worker.");
    assert_eq!(state(other), "active");
    other.docker(&["swarm", "leave"]).ok();
    await_output(manager, &["node", "rm", "node3"], |said| said == "node3");
}

fn token(manager: &Daemon, flags: &[&str]) -> String {
    manager.docker(&[&["swarm", "join-token", "--quiet"][..], flags, &["worker"]].concat()).ok()
}

fn join(daemon: &Daemon, token: &str) -> swarm_testkit::Output {
    daemon.docker(&["swarm", "join", "--token", token, "10.77.0.1:2377"])
}

fn state(daemon: &Daemon) -> String {
    daemon.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok()
}

#[track_caller]
fn refused(daemon: &Daemon, arguments: &[&str], reason: &str) {
    let said = daemon.docker(arguments).refused();
    assert!(said.contains(reason), "docker {arguments:?}: {said}");
}

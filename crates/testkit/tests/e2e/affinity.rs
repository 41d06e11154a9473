//! Services beside each other and apart, asked for by the stock CLI.

use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Daemon, Engine};

use crate::support::{
    IMAGE, await_output, await_running, await_spread, can_run, request, spread, swarm,
};

/// Ends at once when it is asked to.
const OBEDIENT: &str = "trap exit TERM; while :; do sleep 0.1; done";

fn create(manager: &Daemon, name: &str, flags: &[&str]) {
    let start = ["service", "create", "--detach", "--name", name, "--stop-grace-period", "2s"];
    manager.docker(&[&start[..], flags, &[IMAGE, "sh", "-c", OBEDIENT]].concat()).ok();
}

fn await_reason(manager: &Daemon, service: &str, reason: &str) {
    let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", service];
    await_output(manager, &ps, |errors| errors.contains(reason));
}

/// Three nodes of which node2 has `web`.
fn with_web() -> Cluster {
    let cluster = swarm(3);
    create(&cluster[0], "web", &["--constraint", "node.hostname==node2", "--label", "tier=front"]);
    await_running(&cluster[0], "web", 1);
    cluster
}

#[test]
fn services_are_kept_apart_both_ways() {
    if !can_run() {
        return;
    }
    let cluster = with_web();
    let manager = &cluster[0];
    let apart = ["--replicas", "4", "--constraint", "service.name!=web"];
    create(manager, "cache", &apart);
    await_spread(manager, "cache", &[("node1", 2), ("node3", 2)]);
    create(manager, "rest", &["--replicas", "2", "--constraint", "service.labels.tier!=front"]);
    await_spread(manager, "rest", &[("node1", 1), ("node3", 1)]);
    // What others say of it binds web too, and it says why.
    manager
        .docker(&[
            "service",
            "update",
            "--detach",
            "--constraint-rm",
            "node.hostname==node2",
            "--constraint-add",
            "node.hostname==node3",
            "web",
        ])
        .ok();
    await_reason(
        manager,
        "web",
        "no suitable node (scheduling constraints not satisfied on 2 nodes; \
        kept apart by service cache on 1 node)",
    );
    // A neighbour counts until it has stopped.
    let stopped = [
        "service",
        "ps",
        "--filter",
        "desired-state=shutdown",
        "--format",
        "{{.CurrentState}}",
        "web",
    ];
    await_output(manager, &stopped, |state| state.starts_with("Shutdown"));
    manager.docker(&["service", "rm", "rest"]).ok();
    manager
        .docker(&[
            "service",
            "update",
            "--detach",
            "--constraint-add",
            "node.hostname!=node3",
            "cache",
        ])
        .ok();
    await_spread(manager, "web", &[("node3", 1)]);
    await_spread(manager, "cache", &[("node1", 2), ("node2", 2)]);

    // One task a node, and an update of it start-first that has no room for two.
    let alone =
        ["--replicas", "4", "--constraint", "service.name!=alone", "--update-order", "start-first"];
    create(manager, "alone", &alone);
    await_spread(manager, "alone", &[("node1", 1), ("node2", 1), ("node3", 1)]);
    await_reason(manager, "alone", "no suitable node (kept apart from its own service on 3 nodes)");
    manager.docker(&["service", "scale", "--detach", "alone=3"]).ok();
    manager
        .docker(&[
            "service",
            "update",
            "--detach",
            "--update-parallelism",
            "0",
            "--env-add",
            "A=1",
            "alone",
        ])
        .ok();
    let status = ["service", "inspect", "--format", "{{.UpdateStatus.Message}}", "alone"];
    await_output(manager, &status, |message| {
        message.contains(
            "stop-first instead of start-first for 3 of 3 slots: kept apart from its own service",
        )
    });
    await_spread(manager, "alone", &[("node1", 1), ("node2", 1), ("node3", 1)]);
}

#[test]
fn services_follow_each_other_and_a_blocker_s_end_is_noticed() {
    if !can_run() {
        return;
    }
    let cluster = with_web();
    let manager = &cluster[0];
    create(manager, "beside", &["--replicas", "3", "--constraint", "service.name==web"]);
    await_spread(manager, "beside", &[("node2", 3)]);
    create(manager, "together", &["--replicas", "3", "--constraint", "service.name==together"]);
    await_running(manager, "together", 3);
    assert_eq!(spread(manager, "together").len(), 1);
    create(manager, "follows", &["--constraint", "service.name==later"]);
    await_reason(manager, "follows", "no suitable node (not beside service later on 3 nodes)");
    create(manager, "later", &["--constraint", "node.hostname==node3"]);
    await_spread(manager, "follows", &[("node3", 1)]);
    for (name, preference, nodes) in [
        ("drawn", "spread=service.name==web", &[("node2", 2)][..]),
        ("rather-not", "spread=service.name!=web", &[("node1", 1), ("node3", 1)]),
    ] {
        create(manager, name, &["--replicas", "2", "--placement-pref", preference]);
        await_spread(manager, name, nodes);
    }

    // A place is found within half a second of the last neighbour's end.
    create(
        manager,
        "shy",
        &["--constraint", "service.name!=web", "--constraint", "node.hostname==node2"],
    );
    await_reason(manager, "shy", "kept apart from service web on 1 node");
    manager.docker(&["service", "scale", "--detach", "web=0"]).ok();
    let container = ["ps", "--quiet", "--filter", "name=web."];
    await_output(&cluster[1], &container, str::is_empty);
    let freed = Instant::now();
    let node = ["service", "ps", "--format", "{{.Node}}", "shy"];
    await_output(manager, &node, |node| node == "node2");
    let noticed = freed.elapsed();
    assert!(noticed < Duration::from_millis(500), "it took {noticed:?} to be placed");

    // What runs goes on, whoever came or went; and what can't be understood is refused.
    await_spread(manager, "beside", &[("node2", 3)]);
    let refused = manager.docker(&[
        "service",
        "create",
        "--detach",
        "--placement-pref",
        "spread=service.name",
        IMAGE,
    ]);
    assert!(
        refused.stderr.contains(
            "placement preference spread=service.name: \
        constraint expected one operator from ==, !="
        ),
        "{}",
        refused.stderr
    );
    let spec = r#"{"Name": "odd", "TaskTemplate": {"ContainerSpec": {"Image": "alpine:latest"},
        "Placement": {"Constraints": ["service.name!web"]}}}"#;
    let (status, body) = request(manager, "POST", "/v1.43/services/create", spec.as_bytes());
    assert!(
        status >= 400 && body.to_string().contains("constraint expected one operator from ==, !="),
        "{status} {body}"
    );
}

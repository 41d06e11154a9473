//! Where tasks go: constraints, preferences, limits, generic resources; and how soon a blocker's end is noticed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use swarm_testkit::{Daemon, Engine, Lab, busybox_image_tar};

use crate::support::{
    IMAGE, await_output, await_running, await_spread, can_run, request, spread, swarm,
};

/// Ends at once when it is asked to.
const OBEDIENT: &str = "trap exit TERM; while :; do sleep 0.1; done";

fn create(manager: &Daemon, name: &str, flags: &[&str]) {
    let start = ["service", "create", "--detach", "--name", name, "--stop-grace-period", "2s"];
    manager.docker(&[&start[..], flags, &[IMAGE, "sh", "-c", OBEDIENT]].concat()).ok();
}

/// A swarm of daemons with these flags, the first its manager.
fn flagged(lab: &Lab, flags: &[&[&str]]) -> Vec<Daemon> {
    let image = busybox_image_tar(IMAGE);
    let path = lab.folder().join("image.tar");
    std::fs::write(&path, image).expect("write the image");
    let start = |(index, flags): (usize, &&[&str])| {
        let daemon = Daemon::start(lab.host(&format!("node{}", index + 1)), flags);
        daemon.docker(&["load", "--input", path.to_str().expect("a plain path")]).ok();
        daemon
    };
    let daemons: Vec<Daemon> = flags.iter().enumerate().map(start).collect();
    daemons[0].docker(&["swarm", "init", "--advertise-addr", "10.77.0.1"]).ok();
    let token = daemons[0].docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    for daemon in &daemons[1..] {
        daemon.docker(&["swarm", "join", "--token", &token, "10.77.0.1:2377"]).ok();
    }
    daemons
}

#[test]
fn constraints_and_preferences_choose_nodes() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let daemons = flagged(&lab, &[&["--label", "disk=ssd"], &["--label", "disk=hdd"], &[]]);
    let manager = &daemons[0];
    for (node, labels) in [
        ("node1", &["--label-add", "zone=a", "--label-add", "rack=1"][..]),
        ("node2", &["--label-add", "zone=b", "--label-add", "rack=1"]),
        ("node3", &["--label-add", "zone=b", "--label-add", "rack=2"]),
    ] {
        manager.docker(&[&["node", "update"][..], labels, &[node]].concat()).ok();
    }
    let id = manager.docker(&["node", "inspect", "--format", "{{.ID}}", "node2"]).ok();
    let (is, not) = (format!("node.id=={id}"), format!("node.id!={id}"));
    let table: [(&str, &[&str]); 12] = [
        (&is, &["node2"]),
        (&not, &["node1", "node3"]),
        ("node.hostname==node3", &["node3"]),
        ("node.hostname!=node3", &["node1", "node2"]),
        ("node.role==manager", &["node1"]),
        ("node.role!=manager", &["node2", "node3"]),
        ("node.ip==10.77.0.2", &["node2"]),
        ("node.ip!=10.77.0.2/31", &["node1"]),
        ("node.platform.os==linux", &["node1", "node2", "node3"]),
        ("node.labels.zone!=a", &["node2", "node3"]),
        ("engine.labels.disk==ssd", &["node1"]),
        ("engine.labels.disk!=ssd", &["node2", "node3"]),
    ];
    for (number, (constraint, _)) in table.iter().enumerate() {
        let flags = ["--mode", "global", "--constraint", constraint];
        create(manager, &format!("c{number}"), &flags);
    }
    for (number, (_, nodes)) in table.iter().enumerate() {
        let wanted: Vec<_> = nodes.iter().map(|node| (*node, 1)).collect();
        await_spread(manager, &format!("c{number}"), &wanted);
    }
    // Half to each zone, and within a zone half to each rack.
    let over = ["--placement-pref", "spread=node.labels.zone", "--placement-pref"];
    create(
        manager,
        "zones",
        &[&["--replicas", "4"][..], &over, &["spread=node.labels.rack"]].concat(),
    );
    await_spread(manager, "zones", &[("node1", 2), ("node2", 1), ("node3", 1)]);
}

#[test]
fn resources_are_given_once_and_a_blocker_s_end_is_noticed_at_once() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let gpus = ["--node-generic-resource", "gpu=UUID1", "--node-generic-resource", "gpu=UUID2"];
    let daemons = flagged(&lab, &[&gpus, &["--node-generic-resource", "ssd=3"]]);
    let manager = &daemons[0];
    create(manager, "gpus", &["--replicas", "3", "--generic-resource", "gpu=1"]);
    create(manager, "disks", &["--replicas", "2", "--generic-resource", "ssd=2"]);
    create(
        manager,
        "ports",
        &["--replicas", "3", "--publish", "mode=host,published=8080,target=80"],
    );
    create(manager, "few", &["--replicas", "3", "--replicas-max-per-node", "1"]);
    for (name, count, reason) in [
        ("gpus", 2, "no suitable node (insufficient resources on 2 nodes)"),
        ("disks", 1, "no suitable node (insufficient resources on 2 nodes)"),
        ("ports", 2, "no suitable node (host-mode port already in use on 2 nodes)"),
        ("few", 2, "no suitable node (max replicas per node limit exceed)"),
    ] {
        await_running(manager, name, count);
        let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", name];
        await_output(manager, &ps, |errors| errors.contains(reason));
    }
    assert_eq!(spread(manager, "gpus"), BTreeMap::from([("node1".to_owned(), 2)]));
    let mut given: Vec<String> = manager
        .docker(&["ps", "--quiet", "--filter", "name=gpus"])
        .ok()
        .lines()
        .map(|id| manager.docker(&["inspect", "--format", "{{.Config.Env}}", id]).ok())
        .collect();
    given.sort();
    for (given, wanted) in given.iter().zip(["UUID1", "UUID2"]) {
        assert!(given.ends_with(&format!(" DOCKER_RESOURCE_GPU={wanted}]")), "{given}");
    }
    assert_eq!(given.len(), 2);

    create(manager, "waits", &["--constraint", "node.labels.free==yes"]);
    let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", "waits"];
    await_output(manager, &ps, |error| error.contains("scheduling constraints not satisfied on 2"));
    manager.docker(&["node", "update", "--label-add", "free=yes", "node2"]).ok();
    let freed = Instant::now();
    let node = ["service", "ps", "--format", "{{.Node}}", "waits"];
    await_output(manager, &node, |node| node == "node2");
    let noticed = freed.elapsed();
    assert!(noticed < Duration::from_millis(500), "it took {noticed:?} to be placed");
}

#[test]
fn every_task_that_does_not_run_says_why() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    manager.docker(&["node", "update", "--availability", "pause", "node1"]).ok();
    let begun = Instant::now();
    create(manager, "paused", &[]);
    let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", "paused"];
    let reason = "no suitable node (1 node not available for new tasks)";
    await_output(manager, &ps, |error| error.contains(reason));
    let told = begun.elapsed();
    assert!(told < Duration::from_secs(1), "it took {told:?} to be told");
    manager.docker(&["node", "update", "--availability", "active", "node1"]).ok();
    await_running(manager, "paused", 1);
    let volume = "type=volume,source=data,target=/data,volume-driver=remote";
    for (name, flags, reason) in [
        ("logs", ["--log-driver", "fluentd"], "no suitable node (missing plugin on 1 node)"),
        ("volume", ["--mount", volume], "no suitable node (missing plugin on 1 node)"),
    ] {
        create(manager, name, &flags);
        let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", name];
        await_output(manager, &ps, |error| error.contains(reason));
    }
    // The CLI takes platforms from the registry.
    let spec = r#"{"Name": "foreign", "TaskTemplate": {"ContainerSpec": {"Image": "alpine:latest"},
        "Placement": {"Platforms": [{"Architecture": "s390x", "OS": "linux"}]}}}"#;
    let (status, body) = request(manager, "POST", "/v1.43/services/create", spec.as_bytes());
    assert_eq!(status, 201, "{body}");
    let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", "foreign"];
    let reason = "no suitable node (unsupported platform on 1 node)";
    await_output(manager, &ps, |error| error.contains(reason));
}

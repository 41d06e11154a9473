//! One service's life: progress, logs, rolling update, pretty printing, and the reason why a task has no place.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use swarm_testkit::{Daemon, Engine, wait_until};

use crate::support::{IMAGE, PATIENCE, await_output, await_running, can_run, request, swarm};

/// Ends at once when it is asked to, unlike a plain `sleep` as process 1.
const OBEDIENT: &str = "trap exit TERM; echo hello from a task; while :; do sleep 0.1; done";

#[test]
fn a_service_is_created_logged_updated_and_removed() {
    if !can_run() {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster[0];
    let said = create(manager, "web", &["--replicas", "3"]);
    assert!(said.contains("overall progress: 3 out of 3 tasks"), "{said}");
    assert!(said.contains("converged"), "{said}");
    let missing = "image alpine:latest could not be accessed on a registry to record";
    let warned = manager.docker(&["service", "create", "--detach", "--name", "other", IMAGE]);
    assert!(warned.stderr.contains(missing), "{warned}");
    let taken = manager.docker(&["service", "create", "--name", "web", IMAGE]).refused();
    assert!(
        taken.contains("name conflicts with an existing object: service web already exists"),
        "{taken}"
    );
    manager.docker(&["service", "rm", "other"]).ok();

    logs(manager);
    follow(manager);
    update(manager);
    inspect(manager);
    out_of_sequence(manager);

    assert_eq!(manager.docker(&["service", "rm", "web"]).ok(), "web");
    assert_eq!(manager.docker(&["service", "ls", "--quiet"]).ok(), "");
    let gone = manager.docker(&["service", "inspect", "web"]).refused();
    assert!(gone.contains("no such service: web"), "{gone}");
}

#[test]
fn a_task_without_a_place_says_why() {
    if !can_run() {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster[0];
    for (name, flags, reason) in [
        (
            "nowhere",
            ["--constraint", "node.labels.disk==ssd"],
            "no suitable node (scheduling constraints not satisfied on 2 nodes)",
        ),
        (
            "greedy",
            ["--reserve-memory", "900g"],
            "no suitable node (insufficient resources on 2 nodes)",
        ),
        ("busy", ["--reserve-cpu", "900"], "no suitable node (insufficient resources on 2 nodes)"),
    ] {
        let detached = ["service", "create", "--detach", "--name", name];
        manager.docker(&[&detached[..], &flags, &[IMAGE, "sh", "-c", OBEDIENT]].concat()).ok();
        let columns = "{{.Node}}|{{.DesiredState}}|{{.CurrentState}}|{{.Error}}";
        let ps = ["service", "ps", "--no-trunc", "--format", columns, name];
        let task = await_output(manager, &ps, |task| task.contains(reason));
        let cells: Vec<&str> = task.split('|').collect();
        assert_eq!(cells[..2], ["", "Running"], "{task}");
        assert!(cells[2].starts_with("Pending "), "{task}");
    }
    manager.docker(&["node", "update", "--label-add", "disk=ssd", "node2"]).ok();
    await_running(manager, "nowhere", 1);
    let node = ["service", "ps", "nowhere", "--format", "{{.Node}}"];
    assert_eq!(manager.docker(&node).ok(), "node2");
}

#[test]
fn a_failing_task_is_replaced_and_its_history_kept() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    let flags = ["--detach", "--restart-delay", "100ms", "--restart-max-attempts", "2"];
    let create = ["service", "create", "--name", "failing"];
    manager.docker(&[&create[..], &flags, &[IMAGE, "sh", "-c", "exit 3"]].concat()).ok();
    let ps = ["service", "ps", "--no-trunc", "--format", "{{.DesiredState}}|{{.Error}}", "failing"];
    let failed = "Shutdown|\"task: non-zero exit (3)\"";
    await_output(manager, &ps, |tasks| tasks.lines().filter(|&task| task == failed).count() == 3);
    let absent = [
        "service",
        "create",
        "--detach",
        "--name",
        "absent",
        "--restart-condition",
        "none",
        "nowhere.invalid/image:1",
    ];
    manager.docker(&absent).ok();
    let ps = ["service", "ps", "--no-trunc", "--format", "{{.CurrentState}}|{{.Error}}", "absent"];
    await_output(manager, &ps, |task| {
        task.starts_with("Rejected ") && task.contains("No such image: nowhere.invalid/image:1")
    });
}

fn create(manager: &Daemon, name: &str, flags: &[&str]) -> String {
    let start = ["service", "create", "--name", name, "--stop-grace-period", "2s"];
    manager.docker(&[&start[..], flags, &[IMAGE, "sh", "-c", OBEDIENT]].concat()).ok()
}

fn logs(manager: &Daemon) {
    let lines =
        await_output(manager, &["service", "logs", "web"], |text| text.lines().count() == 3);
    let mut slots = Vec::new();
    for line in lines.lines() {
        let (source, text) = line.split_once("| ").expect("the task before the line");
        let slot = source.split('.').nth(1).expect("web.SLOT.ID@NODE");
        assert!(source.starts_with("web.") && source.contains("@node"), "{line}");
        assert_eq!(text, "hello from a task");
        slots.push(slot);
    }
    slots.sort_unstable();
    assert_eq!(slots, ["1", "2", "3"]);
    let raw = manager.docker(&["service", "logs", "--raw", "web"]).ok();
    assert!(raw.lines().all(|line| line == "hello from a task"), "{raw}");
}

/// `service logs -f` prints what a task that starts later says.
fn follow(manager: &Daemon) {
    let mut follower = Command::new("docker")
        .env("DOCKER_HOST", format!("unix://{}", manager.socket().display()))
        .args(["service", "logs", "--follow", "--raw", "web"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("follow the logs");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    for _ in 0..3 {
        lines.next().expect("a line that was there").expect("text");
    }
    manager.docker(&["service", "scale", "--detach", "web=4"]).ok();
    let line = lines.next().expect("a line of the fourth task").expect("text");
    assert_eq!(line, "hello from a task");
    follower.kill().expect("stop following");
    follower.wait().expect("wait for the follower");
    manager.docker(&["service", "scale", "web=3"]).ok();
}

/// Never are more than two tasks of the new version being started at once, and the delay lies between the batches.
fn update(manager: &Daemon) {
    let flags = ["--update-parallelism", "2", "--update-delay", "1s", "--env-add", "VERSION=2"];
    let said = manager.docker(&[&["service", "update"][..], &flags, &["web"]].concat()).ok();
    assert!(said.contains("converged"), "{said}");
    let state = [
        "service",
        "inspect",
        "--format",
        "{{.UpdateStatus.State}}: {{.UpdateStatus.Message}}",
        "web",
    ];
    assert_eq!(manager.docker(&state).ok(), "completed: update completed");
    let ids = manager
        .docker(&["service", "ps", "--quiet", "--filter", "desired-state=running", "web"])
        .ok();
    let mut starts: Vec<String> = ids
        .lines()
        .map(|id| {
            let fields = "{{.Spec.ContainerSpec.Env}} {{.CreatedAt.UnixMilli}}";
            let text = manager.docker(&["inspect", "--format", fields, id]).ok();
            text.strip_prefix("[VERSION=2] ").expect("the new version").to_owned()
        })
        .collect();
    starts.sort();
    assert_eq!(starts.len(), 3);
    let at = |index: usize| starts[index].parse::<u64>().expect("milliseconds");
    assert!(at(2) >= at(1) + 1000, "the third after the delay: {starts:?}");
    let back = manager.docker(&["service", "rollback", "web"]).ok();
    assert!(back.contains("converged"), "{back}");
    let environment =
        ["service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "web"];
    assert_eq!(manager.docker(&environment).ok(), "[]");
}

fn inspect(manager: &Daemon) {
    let pretty = manager.docker(&["service", "inspect", "--pretty", "web"]).ok();
    for line in
        ["Name:\t\tweb", "Service Mode:\tReplicated", " Replicas:\t3", " Image:\t\talpine:latest"]
    {
        assert!(pretty.contains(line), "no {line:?} in\n{pretty}");
    }
    let node = manager.docker(&["node", "inspect", "--pretty", "self"]).ok();
    for line in [
        "Hostname:              \tnode1",
        " State:\t\t\tReady",
        " Raft Status:\t\tReachable",
        " Leader:\t\tYes",
    ] {
        assert!(node.contains(line), "no {line:?} in\n{node}");
    }
}

/// An update that was planned on an older version is refused and changes nothing.
fn out_of_sequence(manager: &Daemon) {
    let (status, service) = request(manager, "GET", "/v1.43/services/web", b"");
    assert_eq!(status, 200, "{service}");
    let version = service["Version"]["Index"].as_u64().expect("a version");
    let spec = service["Spec"].to_string();
    let update = |version: u64| {
        request(
            manager,
            "POST",
            &format!("/v1.43/services/web/update?version={version}"),
            spec.as_bytes(),
        )
    };
    // Since the first version the specification was replaced, and taken back.
    let (status, body) = update(1);
    assert_eq!(
        (status, body["message"].as_str()),
        (500, Some("rpc error: code = Unknown desc = update out of sequence"))
    );
    assert_eq!(request(manager, "GET", "/v1.43/services/web", b"").1["Version"]["Index"], version);
    assert_eq!(update(version).0, 200);
    wait_until(PATIENCE, "the service to be as before", || {
        let (_, service) = request(manager, "GET", "/v1.43/services/web", b"");
        (service["Version"]["Index"].as_u64() > Some(version)).then_some(())
    });
}

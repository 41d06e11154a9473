//! Rolling updates and rollbacks: failures, superseding updates, start-first without room for two, conflicts.

use std::collections::BTreeSet;

use swarm_testkit::{Cluster, Daemon, Engine, busybox_image_tar};

use crate::support::{IMAGE, await_output, await_running, can_run, request, swarm};

/// Ends at once when it is asked to.
const OBEDIENT: &str = "trap exit TERM; while :; do sleep 0.1; done";

fn create(manager: &Daemon, name: &str, flags: &[&str]) {
    let start = ["service", "create", "--detach", "--name", name, "--stop-grace-period", "2s"];
    manager.docker(&[&start[..], flags, &[IMAGE, "sh", "-c", OBEDIENT]].concat()).ok();
}

fn update(manager: &Daemon, name: &str, flags: &[&str]) {
    manager.docker(&[&["service", "update", "--detach"][..], flags, &[name]].concat()).ok();
}

/// `state: message` of a service's update.
fn await_status(manager: &Daemon, name: &str, condition: impl Fn(&str) -> bool) -> String {
    let format = "{{.UpdateStatus.State}}: {{.UpdateStatus.Message}}";
    await_output(manager, &["service", "inspect", "--format", format, name], condition)
}

/// The tasks of a service that are to run and do, by ID.
fn running(manager: &Daemon, name: &str) -> BTreeSet<String> {
    let flags = ["--filter", "desired-state=running", "--format", "{{.ID}} {{.CurrentState}}"];
    let tasks = manager.docker(&[&["service", "ps", name][..], &flags].concat()).ok();
    let running = tasks.lines().filter(|line| line.contains(" Running "));
    running.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn an_update_that_fails_pauses_goes_on_or_is_rolled_back() {
    if !can_run() {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster[0];
    let quick = ["--replicas", "3", "--update-monitor", "1s", "--rollback-monitor", "500ms"];
    let slow_restarts = ["--restart-delay", "60s", "--update-delay", "500ms"];
    let failing =
        |action| [&quick[..], &slow_restarts, &["--update-failure-action", action]].concat();
    for action in ["pause", "continue", "rollback"] {
        create(manager, action, &failing(action));
    }
    for action in ["pause", "continue", "rollback"] {
        await_running(manager, action, 3);
    }
    let before = running(manager, "rollback");
    // An image that cannot be pulled is a failure like one that ends at once.
    update(manager, "pause", &["--image", "nowhere.invalid/image:1"]);
    for name in ["continue", "rollback"] {
        update(manager, name, &["--args", "sh -c 'exit 3'"]);
    }
    let early = "due to failure or early termination of task ";
    await_status(manager, "pause", |status| {
        status.starts_with(&format!("paused: update paused {early}"))
    });
    assert_eq!(running(manager, "pause").len(), 2);
    let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", "pause"];
    await_output(manager, &ps, |errors| errors.contains("No such image: nowhere.invalid/image:1"));
    let told =
        manager.docker(&["service", "update", "--image", "nowhere.invalid/image:2", "pause"]);
    assert!(told.refused().contains("service update paused: update paused "));

    await_status(manager, "rollback", |status| status == "rollback_completed: rollback completed");
    let after = running(manager, "rollback");
    assert_eq!((after.len(), after.intersection(&before).count()), (3, 2), "one was tried");
    let args = ["service", "inspect", "--format", "{{json .Spec.TaskTemplate.ContainerSpec.Args}}"];
    let args = manager.docker(&[&args[..], &["rollback"]].concat()).ok();
    assert!(args.contains("trap exit TERM"), "{args}");

    let said = await_status(manager, "continue", |status| status.starts_with("completed: "));
    assert_eq!(said, "completed: update completed; new tasks that failed: 3 (of 3 slots)");
    assert_eq!(running(manager, "continue").len(), 0);
    // Back by hand; and what is paused goes back too.
    for (name, command) in [
        ("continue", &["service", "rollback", "--detach", "continue"][..]),
        ("pause", &["service", "update", "--rollback", "--detach", "pause"]),
    ] {
        manager.docker(command).ok();
        if name == "continue" {
            await_running(manager, name, 3);
            await_status(manager, name, |status| {
                status.starts_with("rollback_completed: rollback")
            });
        }
    }
    let never = manager.docker(&["service", "rollback", "--detach", "rollback"]).refused();
    assert!(never.contains("does not have a previous spec"), "{never}");
}

#[test]
fn a_newer_update_supersedes_and_what_only_its_status_changed_is_no_conflict() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    let slow = ["--replicas", "4", "--update-delay", "1h", "--update-monitor", "500ms"];
    create(manager, "web", &slow);
    await_running(manager, "web", 4);
    let (_, service) = request(manager, "GET", "/v1.43/services/web", b"");
    let version = service["Version"]["Index"].as_u64().expect("a version");
    let first = running(manager, "web");

    update(manager, "web", &["--force"]);
    await_status(manager, "web", |status| status == "updating: update in progress");
    await_output(manager, &["service", "ps", "--quiet", "web"], |ids| ids.lines().count() == 5);
    await_running(manager, "web", 4);
    assert_eq!(
        running(manager, "web").intersection(&first).count(),
        3,
        "the others wait for an hour"
    );
    let (_, now) = request(manager, "GET", "/v1.43/services/web", b"");
    let seen = now["Version"]["Index"].as_u64().expect("a version");
    update(manager, "web", &["--update-delay", "0s", "--env-add", "VERSION=3"]);
    await_status(manager, "web", |status| status == "completed: update completed");
    assert!(running(manager, "web").is_disjoint(&first));
    let stale = now["Spec"].to_string();
    let path = |version| format!("/v1.43/services/web/update?version={version}");
    for version in [version, seen] {
        let (status, body) = request(manager, "POST", &path(version), stale.as_bytes());
        let refused = Some("rpc error: code = Unknown desc = update out of sequence");
        assert_eq!((status, body["message"].as_str()), (500, refused), "version {version}");
    }
    // The service has completed its update since this version, no more.
    let (_, done) = request(manager, "GET", "/v1.43/services/web", b"");
    let done = done["Version"]["Index"].as_u64().expect("a version");
    let (status, body) = request(manager, "POST", &path(done - 1), stale.as_bytes());
    assert_eq!(status, 200, "{body}");
}

#[test]
fn start_first_stops_first_where_there_is_no_room_for_two() {
    if !can_run() {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster[0];
    let start_first =
        ["--replicas", "2", "--update-order", "start-first", "--update-monitor", "500ms"];
    let port = ["--publish", "mode=host,published=8080,target=80"];
    create(manager, "port", &[&start_first[..], &port].concat());
    create(manager, "limit", &[&start_first[..], &["--replicas-max-per-node", "1"]].concat());
    create(manager, "room", &start_first);
    for name in ["port", "limit", "room"] {
        await_running(manager, name, 2);
        update(manager, name, &["--env-add", "VERSION=2"]);
    }
    let instead =
        "completed: update completed; stop-first instead of start-first for 2 of 2 slots: ";
    for (name, said) in [
        ("port", format!("{instead}host-mode port already in use")),
        ("limit", format!("{instead}max replicas per node limit exceed")),
        ("room", "completed: update completed".to_owned()),
    ] {
        await_status(manager, name, |status| status == said);
        await_running(manager, name, 2);
    }
}

#[test]
fn an_update_goes_on_and_is_watched_when_its_leader_dies() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    cluster.load(&busybox_image_tar(IMAGE));
    let place = ["--replicas", "4", "--constraint", "node.hostname!=node1"];
    let watch = ["--update-delay", "1s", "--update-monitor", "3s"];
    let failing = ["--update-failure-action", "rollback", "--rollback-monitor", "500ms"];
    create(&cluster[0], "good", &[&place[..], &watch].concat());
    create(&cluster[0], "bad", &[&place[..], &watch, &failing].concat());
    for name in ["good", "bad"] {
        await_running(&cluster[0], name, 4);
    }
    let before = running(&cluster[0], "good");
    update(&cluster[0], "good", &["--force"]);
    // These end too late for the leader under which they began.
    update(&cluster[0], "bad", &["--args", "sh -c 'sleep 2; exit 3'"]);
    await_output(&cluster[0], &["service", "ps", "--quiet", "good"], |ids| ids.lines().count() > 4);
    cluster[0].kill();
    let manager = &cluster[1];
    await_status(manager, "bad", |status| status == "rollback_completed: rollback completed");
    await_running(manager, "bad", 4);
    await_status(manager, "good", |status| status == "completed: update completed");
    await_running(manager, "good", 4);
    assert!(running(manager, "good").is_disjoint(&before));
}

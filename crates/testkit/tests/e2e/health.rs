//! Health checks: a task is running when it is healthy, and replaced when it is not any more.

use swarm_testkit::{Daemon, Engine};

use crate::support::{IMAGE, await_output, can_run, single, swarm};

/// Healthy a while after its start, as long as the file is there.
const SERVER: &str = "trap 'exit 3' TERM; sleep 0.5; touch /ok; while :; do sleep 0.1; done";
const CHECK: &str = "test -e /ok && echo fine";
const TASK: &str = "{{.CurrentState}}|{{.Error}}";

#[test]
fn a_task_runs_when_healthy_and_is_replaced_when_not() {
    if !can_run() {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster[0];
    let here = ["--constraint", "node.hostname==node1", "--restart-delay", "0s"];
    let flags = ["--health-cmd", CHECK, "--health-interval", "200ms", "--health-retries", "2"];
    let start = ["--health-start-period", "30s", "--health-start-interval", "100ms"];
    let create = ["service", "create", "--detach", "--name", "web"];
    let command = [IMAGE, "sh", "-c", SERVER];
    manager.docker(&[&create[..], &here, &flags, &start, &command].concat()).ok();
    let ps = ["service", "ps", "--no-trunc", "--format", TASK, "web"];
    await_output(manager, &ps, |tasks| tasks.starts_with("Starting "));
    await_output(manager, &ps, |tasks| tasks.starts_with("Running "));
    let id = container(manager, "web");
    let health = ["inspect", "--format", "{{json .State.Health}}", &id];
    let health: serde_json::Value =
        serde_json::from_str(&manager.docker(&health).ok()).expect("the health");
    assert_eq!((&health["Status"], &health["FailingStreak"]), (&"healthy".into(), &0.into()));
    let newest = health["Log"].as_array().and_then(|log| log.last()).expect("a result");
    assert_eq!((&newest["ExitCode"], &newest["Output"]), (&0.into(), &"fine\n".into()));
    let status = manager.docker(&["ps", "--format", "{{.Status}}", "--filter", "health=healthy"]);
    assert!(status.ok().ends_with("(healthy)"), "docker ps shows the health");

    remove_file(manager, &id);
    let reason = "\"task: non-zero exit (3): dockerexec: unhealthy container\"";
    await_output(manager, &ps, |tasks| {
        tasks.lines().any(|task| task.starts_with("Failed ") && task.ends_with(reason))
            && tasks.lines().any(|task| task.starts_with("Running "))
    });
}

#[test]
fn a_check_that_hangs_is_killed_and_fails_the_task() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    let flags = [
        "--restart-condition",
        "none",
        "--user",
        "nobody",
        "--health-cmd",
        "echo before; exec sleep 4242",
        "--health-timeout",
        "300ms",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
    ];
    let create = ["service", "create", "--detach", "--name", "hangs"];
    manager.docker(&[&create[..], &flags, &[IMAGE, "sh", "-c", SERVER]].concat()).ok();
    let ps = ["service", "ps", "--no-trunc", "--format", TASK, "hangs"];
    await_output(manager, &ps, |task| {
        task.starts_with("Failed ") && task.contains("dockerexec: unhealthy container")
    });
    let id = manager.docker(&["ps", "--all", "--quiet", "--filter", "name=hangs"]).ok();
    let log = ["inspect", "--format", "{{(index .State.Health.Log 1).Output}}", &id];
    let said = manager.docker(&log).ok();
    assert_eq!(said.trim(), "Health check exceeded timeout (300ms): before");
}

/// A check is run as the container's own process is: with its user, rights, filters, limits, cgroups and namespaces.
#[test]
fn a_check_is_no_more_than_its_container() {
    if !can_run() {
        return;
    }
    let cluster = single();
    let engine = &cluster[0];
    let same = "for of in 1 $$; do
            grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp):' /proc/$of/status
            cat /proc/$of/cgroup /proc/$of/limits; tr '\\0' '\\n' < /proc/$of/environ | sort
            for ns in mnt pid net ipc uts cgroup; do readlink /proc/$of/ns/$ns; done; readlink /proc/$of/cwd
        done > /tmp/both
        half=$(($(wc -l < /tmp/both) / 2))
        head -n $half /tmp/both > /tmp/first; tail -n $half /tmp/both > /tmp/second
        diff /tmp/first /tmp/second";
    for (name, flags) in [
        ("usual", &["--env", "A=1"][..]),
        ("root", &["--cap-drop", "ALL", "--workdir", "/var", "--ulimit", "nofile=77:88"]),
        ("nobody", &["--user", "nobody", "--security-opt", "no-new-privileges"]),
        ("host", &["--network", "host", "--security-opt", "seccomp=unconfined"]),
    ] {
        let check = ["--health-cmd", same, "--health-interval", "200ms"];
        let run = ["run", "--detach", "--name", name];
        let sleep = [IMAGE, "sh", "-c", "while :; do sleep 0.1; done"];
        engine.docker(&[&run[..], flags, &check, &sleep].concat()).ok();
        let health = "{{.State.Health.Status}} {{range .State.Health.Log}}{{.Output}}{{end}}";
        let inspect = ["inspect", "--format", health, name];
        let found = await_output(engine, &inspect, |health| !health.starts_with("starting"));
        assert!(found.starts_with("healthy"), "{name}: {found}");
    }
}

/// `docker run` has them too; the daemon's restart changes nothing of what is known, and probing goes on.
#[test]
fn health_outlives_the_daemon() {
    if !can_run() {
        return;
    }
    let mut cluster = single();
    let engine = &cluster[0];
    let flags = ["--name", "checked", "--health-cmd", CHECK, "--health-interval", "200ms"];
    let run = ["run", "--detach"];
    engine.docker(&[&run[..], &flags, &[IMAGE, "sh", "-c", SERVER]].concat()).ok();
    let status = ["inspect", "--format", "{{.State.Health.Status}}", "checked"];
    await_output(engine, &status, |status| status.trim() == "healthy");
    cluster[0].kill();
    cluster[0].restart();
    let engine = &cluster[0];
    assert_eq!(engine.docker(&status).ok(), "healthy");
    remove_file(engine, "checked");
    await_output(engine, &status, |status| status.trim() == "unhealthy");
    let off = ["run", "--detach", "--name", "off", "--no-healthcheck", IMAGE, "true"];
    engine.docker(&off).ok();
    let health = ["inspect", "--format", "{{json .State.Health}}", "off"];
    assert_eq!(engine.docker(&health).ok(), "null");
}

/// The container of a service's one running task on this node.
fn container(engine: &Daemon, service: &str) -> String {
    let label = format!("label=com.docker.swarm.service.name={service}");
    engine.docker(&["ps", "--quiet", "--no-trunc", "--filter", &label]).ok()
}

/// Takes away what the check looks for, by way of the container's process.
fn remove_file(engine: &Daemon, container: &str) {
    let pid = engine.docker(&["inspect", "--format", "{{.State.Pid}}", container]).ok();
    std::fs::remove_file(format!("/proc/{pid}/root/ok")).expect("remove the file");
}

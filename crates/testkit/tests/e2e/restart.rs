//! A daemon that is killed and started again disturbs no container, on a worker as on the manager.

use swarm_testkit::{Cluster, Daemon, Engine, wait_until};

use crate::support::{IMAGE, PATIENCE, await_output, await_running, can_run, processes, swarm};

#[test]
fn containers_outlive_the_worker_s_and_the_manager_s_daemon() {
    if !can_run() {
        return;
    }
    let mut cluster = swarm(3);
    let create = ["service", "create", "--detach", "--replicas", "6", "--name", "steady"];
    let command = ["sh", "-c", "trap exit TERM; while :; do echo tick; sleep 0.2; done"];
    cluster[0].docker(&[&create[..], &[IMAGE], &command].concat()).ok();
    await_running(&cluster[0], "steady", 6);
    let plain = cluster[0].docker(&["create", "--name", "plain", IMAGE, "sleep", "1000"]).ok();
    cluster[0].docker(&["start", "plain"]).ok();
    let before: Vec<_> = cluster.daemons().iter().map(processes).collect();
    assert!(before[0].contains_key(&plain));
    let counts: Vec<usize> = before.iter().map(|containers| containers.len()).collect();
    assert_eq!(counts, [3, 2, 2], "two tasks each, and the plain container");
    let tasks = tasks(&cluster[0]);

    for index in [1, 0] {
        cluster[index].kill();
        cluster[index].restart();
        await_ready(&cluster);
        wait_until(PATIENCE, "the containers to be adopted", || {
            (processes(&cluster[index]) == before[index]).then_some(())
        });
        assert_logs_go_on(&cluster[index], &before[index]);
        await_running(&cluster[0], "steady", 6);
        assert_eq!(self::tasks(&cluster[0]), tasks, "no task was replaced");
    }
    for (daemon, before) in cluster.daemons().iter().zip(&before) {
        assert_eq!(&processes(daemon), before, "every container kept its process");
    }
    assert_eq!(
        cluster[0].docker(&["service", "ls", "--format", "{{.Name}} {{.Replicas}}"]).ok(),
        "steady 6/6"
    );
    cluster[0].docker(&["service", "scale", "--detach", "steady=7"]).ok();
    await_running(&cluster[0], "steady", 7);
    cluster[0].docker(&["service", "rm", "steady"]).ok();
    for daemon in cluster.daemons() {
        await_output(daemon, &["ps", "--quiet", "--filter", "name=steady"], str::is_empty);
    }
}

fn tasks(manager: &impl Engine) -> Vec<String> {
    let tasks = manager.docker(&["service", "ps", "--quiet", "--no-trunc", "steady"]).ok();
    let mut tasks: Vec<String> = tasks.lines().map(str::to_owned).collect();
    tasks.sort();
    tasks
}

fn await_ready(cluster: &Cluster) {
    await_output(&cluster[0], &["node", "ls", "--format", "{{.Status}}"], |states| {
        states == "Ready\nReady\nReady"
    });
}

/// The shims write on while no daemon is there, and the new daemon reads on.
fn assert_logs_go_on(daemon: &Daemon, containers: &std::collections::BTreeMap<String, String>) {
    let noisy =
        containers.keys().find(|id| !daemon.docker(&["logs", "--tail", "1", id]).ok().is_empty());
    let noisy = noisy.expect("a task that prints");
    let lines = || daemon.docker(&["logs", noisy]).ok().lines().count();
    let first = lines();
    wait_until(PATIENCE, "further lines of the log", || (lines() > first).then_some(()));
}

//! Who is alive: machines that are lost, starved, cut off for a moment, or lose half of their packets.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the tests with --nocapture")]

use std::process::Child;
use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Daemon, Engine, Host, busybox_image_tar, require_command, wait_until};

use crate::support::{IMAGE, PATIENCE, await_running, can_run, processes, spread};

/// The promise is 5 s; the rest is for a machine that runs other tests meanwhile.
const ELSEWHERE_MAX: Duration = Duration::from_secs(12);

/// Managers and workers with the image, all ready, and a service of so many tasks that run.
fn cluster(managers: usize, workers: usize, replicas: usize) -> Cluster {
    let cluster = Cluster::swarm_of(managers, workers);
    cluster.load(&busybox_image_tar(IMAGE));
    await_ready(&cluster[0], managers + workers);
    create(&cluster[0], "web", replicas);
    cluster
}

fn create(daemon: &Daemon, name: &str, replicas: usize) {
    let count = replicas.to_string();
    let web = ["service", "create", "--detach", "--replicas", &count, "--name", name];
    daemon.docker(&[&web[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    await_running(daemon, name, replicas);
}

fn states(daemon: &Daemon) -> Vec<String> {
    let format = "{{.Hostname}} {{.Status}}";
    let mut states: Vec<String> =
        daemon.docker(&["node", "ls", "--format", format]).stdout.lines().map(str::to_owned).collect();
    states.sort();
    states
}

fn await_ready(daemon: &Daemon, nodes: usize) {
    wait_until(PATIENCE, "all nodes to be ready", || {
        let states = states(daemon);
        (states.len() == nodes && states.iter().all(|state| state.ends_with("Ready"))).then_some(())
    });
}

/// Waits until all tasks run, none of them on the lost host.
fn await_elsewhere(daemon: &Daemon, service: &str, lost: &str, count: usize) {
    wait_until(PATIENCE, "all tasks to run elsewhere", || {
        let spread = spread(daemon, service);
        (!spread.contains_key(lost) && spread.values().sum::<usize>() == count).then_some(())
    });
}

#[test]
fn the_tasks_of_a_leader_out_of_reach_run_elsewhere() {
    if !can_run() {
        return;
    }
    let cluster = cluster(3, 1, 8);
    let before: Vec<_> = (1..4).map(|node| processes(&cluster[node])).collect();
    cluster[0].host().cut_off();
    let start = Instant::now();
    let away = || spread_if_led(&cluster[1]).filter(|spread| !spread.contains_key("node1"));
    wait_until(PATIENCE, "all tasks to run elsewhere", || {
        away().filter(|spread| spread.values().sum::<usize>() == 8)
    });
    let elsewhere = start.elapsed();
    println!("all tasks elsewhere {elsewhere:?} after the leader's cable was pulled");
    assert!(elsewhere < ELSEWHERE_MAX, "{elsewhere:?}");
    for (node, before) in before.iter().enumerate() {
        let after = processes(&cluster[node + 1]);
        assert!(before.iter().all(|kept| after.get(kept.0) == Some(kept.1)), "none was touched");
    }
}

/// As [`spread`], none while nobody leads.
fn spread_if_led(daemon: &Daemon) -> Option<std::collections::BTreeMap<String, usize>> {
    daemon.docker(&["service", "ls"]).success().then(|| spread(daemon, "web"))
}

//! Who is alive: machines that are lost, starved, cut off for a moment, or lose half of their packets.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the tests with --nocapture")]

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Daemon, Engine, busybox_image_tar, require_command, wait_until};

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
    // A shell that takes SIGTERM, which the first process of a container ignores otherwise.
    let script = "trap 'exit 0' TERM; sleep 1000 & wait";
    daemon.docker(&[&web[..], &[IMAGE, "sh", "-c", script]].concat()).ok();
    await_running(daemon, name, replicas);
}

fn states(daemon: &Daemon) -> Vec<String> {
    let format = "{{.Hostname}} {{.Status}}";
    let mut states: Vec<String> = daemon
        .docker(&["node", "ls", "--format", format])
        .stdout
        .lines()
        .map(str::to_owned)
        .collect();
    states.sort();
    states
}

fn await_ready(daemon: &Daemon, nodes: usize) {
    wait_until(PATIENCE, "all nodes to be ready", || {
        let states = states(daemon);
        (states.len() == nodes && states.iter().all(|state| state.ends_with("Ready"))).then_some(())
    });
}

/// Loses one of three managers, `node{lost + 1}`, and waits until all tasks run on the other nodes.
fn lose(mut cluster: Cluster, lost: usize, what: &str, way: impl FnOnce(&mut Daemon)) {
    let name = format!("node{}", lost + 1);
    let others: Vec<usize> = (0..4).filter(|node| *node != lost).collect();
    let before: Vec<_> = others.iter().map(|node| processes(&cluster[*node])).collect();
    way(&mut cluster[lost]);
    let start = Instant::now();
    let asked = &cluster[others[0]];
    wait_until(PATIENCE, "all tasks to run elsewhere", || {
        let spread = spread_if_led(asked).filter(|spread| !spread.contains_key(&name));
        spread.filter(|spread| spread.values().sum::<usize>() == 8)
    });
    let elsewhere = start.elapsed();
    println!("all tasks elsewhere {elsewhere:?} after {what}");
    assert!(elsewhere < ELSEWHERE_MAX, "{elsewhere:?}");
    for (node, before) in others.into_iter().zip(before) {
        let after = processes(&cluster[node]);
        assert!(before.iter().all(|kept| after.get(kept.0) == Some(kept.1)), "none was touched");
    }
}

#[test]
fn the_tasks_of_a_leader_out_of_reach_run_elsewhere() {
    if can_run() {
        let cut_off = |daemon: &mut Daemon| daemon.host().cut_off();
        lose(cluster(3, 1, 8), 0, "the leader's cable was pulled", cut_off);
    }
}

#[test]
fn the_tasks_of_a_follower_out_of_reach_run_elsewhere() {
    if can_run() {
        let cut_off = |daemon: &mut Daemon| daemon.host().cut_off();
        lose(cluster(3, 1, 8), 1, "a follower's cable was pulled", cut_off);
    }
}

#[test]
fn the_tasks_of_a_leader_without_power_run_elsewhere() {
    if can_run() {
        lose(cluster(3, 1, 8), 0, "the leader's machine was killed", Daemon::kill_machine);
    }
}

/// As [`spread`], none while nobody leads.
fn spread_if_led(daemon: &Daemon) -> Option<std::collections::BTreeMap<String, usize>> {
    daemon.docker(&["service", "ls"]).success().then(|| spread(daemon, "web"))
}

/// For so long a state must hold. Time itself is what these tests are about.
fn hold(duration: Duration, mut check: impl FnMut()) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        check();
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Seconds from the environment, for longer runs by hand.
fn seconds(variable: &str, usual: u64) -> Duration {
    let given = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(usual))
}

/// Fails where a manager has declared any node dead.
#[track_caller]
fn assert_nobody_died(cluster: &Cluster, managers: usize) {
    for manager in &cluster.daemons()[..managers] {
        let log = manager.log();
        let death = log.lines().find(|line| line.contains("heartbeat failure"));
        assert!(death.is_none(), "{}: {death:?}", manager.host().name());
    }
}

/// Cuts a daemon off, for less than is death, and waits until it would be known.
fn cut_for_two_seconds(daemon: &Daemon) {
    daemon.host().cut_off();
    std::thread::sleep(Duration::from_secs(2));
    daemon.host().reconnect();
    hold(Duration::from_secs(4), || {});
}

#[test]
fn silence_is_death_after_three_seconds_and_a_short_cut_is_not() {
    if !can_run() {
        return;
    }
    let cluster = cluster(1, 2, 4);
    let before = processes(&cluster[1]);
    assert!(!before.is_empty());
    for _ in 0..2 {
        cut_for_two_seconds(&cluster[1]);
    }
    assert_nobody_died(&cluster, 1);
    assert_eq!(processes(&cluster[1]), before);

    cluster[1].host().cut_off();
    let start = Instant::now();
    wait_until(PATIENCE, "it to be down", || {
        states(&cluster[0]).contains(&"node2 Down".to_owned()).then_some(())
    });
    let down = start.elapsed();
    println!("down {down:?} after its cable was pulled");
    assert!(down > Duration::from_millis(2200), "{down:?}");
    await_running(&cluster[0], "web", 4);
    println!("replaced {:?} after", start.elapsed());
    // Of each slot one task goes on, and it is not the one that came back.
    let others: Vec<_> = [0, 2].map(|node| processes(&cluster[node])).into();
    cluster[1].host().reconnect();
    let start = Instant::now();
    wait_until(PATIENCE, "its old tasks to end", || {
        processes(&cluster[1]).is_empty().then_some(())
    });
    println!("its old tasks ended {:?} after its cable was back", start.elapsed());
    assert_eq!(Vec::from([0, 2].map(|node| processes(&cluster[node]))), others);
    await_running(&cluster[0], "web", 4);
}

#[test]
fn what_found_no_other_place_goes_on_when_its_node_is_back() {
    if !can_run() {
        return;
    }
    let cluster = cluster(1, 1, 2);
    let pinned = ["service", "create", "--detach", "--replicas", "2", "--name", "pinned"];
    let there = ["--constraint", "node.hostname==node2", IMAGE, "sleep", "1000"];
    cluster[0].docker(&[&pinned[..], &there].concat()).ok();
    let everywhere = ["service", "create", "--detach", "--mode", "global", "--name", "everywhere"];
    cluster[0].docker(&[&everywhere[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    await_running(&cluster[0], "pinned", 2);
    await_running(&cluster[0], "everywhere", 2);
    let stay = |daemon: &Daemon| {
        let running = daemon.docker(&["ps", "--format", "{{.ID}} {{.Names}}"]).ok();
        let mut kept: Vec<String> =
            running.lines().filter(|line| !line.contains(" web.")).map(str::to_owned).collect();
        kept.sort();
        kept
    };
    let before = stay(&cluster[1]);
    assert_eq!(before.len(), 3, "{before:?}");
    cluster[1].host().cut_off();
    await_running(&cluster[0], "pinned", 0);
    cluster[1].host().reconnect();
    await_running(&cluster[0], "pinned", 2);
    await_running(&cluster[0], "everywhere", 2);
    await_running(&cluster[0], "web", 2);
    // What was replaced is gone, what was not has not stopped for a moment.
    wait_until(PATIENCE, "the replaced to end", || {
        (processes(&cluster[1]).len() == 3).then_some(())
    });
    assert_eq!(stay(&cluster[1]), before);
}

#[test]
fn a_short_cut_is_not_death_where_datagrams_are_blocked() {
    if !(can_run() && require_command("nft")) {
        return;
    }
    let cluster = cluster(1, 1, 2);
    let before = processes(&cluster[1]);
    load_rules(
        &cluster[1],
        "chain in { type filter hook input priority -300; meta l4proto udp drop; }",
    );
    // Its beats over TCP take over within a second.
    hold(Duration::from_secs(4), || {});
    cut_for_two_seconds(&cluster[1]);
    assert_nobody_died(&cluster, 1);
    assert_eq!(processes(&cluster[1]), before);
}

/// Processes that do nothing, as fast as they can; they end with this.
struct Spinners(Vec<Child>);

impl Spinners {
    /// So many on one CPU.
    fn on_cpu(cpu: &str, count: usize) -> Self {
        let spin = || {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", cpu, "busybox", "sh", "-c", "while :; do :; done"]);
            command.spawn().expect("a spinning process")
        };
        Self((0..count).map(|_| spin()).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_starved_node_is_not_dead() {
    if !(can_run() && require_command("taskset")) {
        return;
    }
    let cluster = cluster(1, 2, 4);
    let before = processes(&cluster[1]);
    // One CPU is all that the node has.
    let bound = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", "0", &cluster[1].pid().to_string()])
        .output()
        .expect("bind a daemon to a CPU");
    assert!(bound.status.success(), "{bound:?}");
    let spinners = Spinners::on_cpu("0", 40);
    hold(seconds("SWARM_E2E_STARVE_SECONDS", 15), || {
        assert!(states(&cluster[0]).contains(&"node2 Ready".to_owned()));
    });
    drop(spinners);
    assert_nobody_died(&cluster, 1);
    assert_eq!(processes(&cluster[1]), before);
}

/// Loses half of the packets that come in and half of those that go out.
fn lose_half(daemon: &Daemon) {
    let half = "numgen random mod 2 0 drop";
    load_rules(
        daemon,
        &format!(
            "chain in {{ type filter hook input priority -300; iifname eth0 {half}; }}
             chain out {{ type filter hook output priority -300; oifname eth0 {half}; }}"
        ),
    );
}

fn load_rules(daemon: &Daemon, chains: &str) {
    let rules = format!("table inet loss {{ {chains}\n}}");
    let loaded = daemon.host().command("nft").arg(rules).output().expect("run nft");
    assert!(loaded.status.success(), "{loaded:?}");
}

fn lose_nothing(daemon: &Daemon) {
    let deleted = daemon.host().command("nft").args(["delete", "table", "inet", "loss"]).output();
    assert!(deleted.expect("run nft").status.success());
}

#[test]
fn a_node_that_loses_half_of_its_packets_is_not_dead() {
    if !(can_run() && require_command("nft")) {
        return;
    }
    let cluster = cluster(1, 2, 4);
    let before = processes(&cluster[1]);
    lose_half(&cluster[1]);
    hold(seconds("SWARM_E2E_LOSS_SECONDS", 10), || {
        assert!(states(&cluster[0]).contains(&"node2 Ready".to_owned()));
    });
    lose_nothing(&cluster[1]);
    hold(Duration::from_secs(4), || {});
    assert_nobody_died(&cluster, 1);
    assert_eq!(processes(&cluster[1]), before);
    await_running(&cluster[0], "web", 4);
}

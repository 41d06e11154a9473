//! Managers are killed two at once, or cut off from the others in one direction or in both, while clients write: the
//! majority goes on, the minority says why it can't, and nothing that was acknowledged is lost. `bench/` does the same
//! at length.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the tests with --nocapture")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Daemon, Engine, require_command, wait_until};

use crate::load::Load;
use crate::managers::leader;
use crate::support::{PATIENCE, can_run, nodes, request};

const CLIENTS: usize = 8;
/// About a second is the promise, which the benchmarks measure. Here five daemons without optimisation may share two
/// cores with other tests.
const GO_ON_MAX: Duration = Duration::from_secs(15);
/// The same for a refusal.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Waits until all managers are in reach of each other, as each of them sees it; the leader.
fn await_well(cluster: &Cluster) -> usize {
    let count = cluster.daemons().len();
    for daemon in cluster.daemons() {
        wait_until(PATIENCE, "all managers in reach", || {
            let named = nodes(daemon).concat();
            let is_well = named.matches("Ready Reachable").count() == count - 1
                && named.contains("Ready Leader");
            is_well.then_some(())
        });
    }
    leader(cluster, 0)
}

/// The managers that are not among the lost.
fn others(cluster: &Cluster, lost: &[usize]) -> Vec<usize> {
    (0..cluster.daemons().len()).filter(|index| !lost.contains(index)).collect()
}

#[test]
fn five_managers_lose_two_at_once_while_clients_write() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(5, 0);
    let mut lead = await_well(&cluster);
    let load = Load::start(&cluster, "kill", CLIENTS);
    let mut kills = Vec::new();
    for round in 0..2 {
        let lost = [lead, (lead + 1 + round) % 5];
        lost.iter().for_each(|index| cluster[*index].kill());
        kills.push(Instant::now());
        load.await_write_after(kills[round]);
        lost.iter().for_each(|index| cluster[*index].restart());
        lead = await_well(&cluster);
    }
    let written = load.end();
    let times = written.first_after(&kills);
    println!("{} writes; first accepted after two kills: {times:?}", written.count());
    assert!(times.iter().all(|time| *time < GO_ON_MAX), "{times:?}");
    written.assert_kept(&cluster);
}

/// What is lost between the managers that are cut off and the others.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// What they send.
    Mute,
    /// What is sent to them.
    Deaf,
    /// Both.
    Silent,
}

impl Cut {
    fn make(self, cluster: &Cluster, minority: &[usize]) {
        let majority = others(cluster, minority);
        let deafen = |hosts: &[usize], to: &[usize]| {
            let to: Vec<Ipv4Addr> = to.iter().map(|at| cluster[*at].host().address()).collect();
            hosts.iter().for_each(|at| cluster[*at].host().deafen(&to));
        };
        if matches!(self, Self::Deaf | Self::Silent) {
            deafen(minority, &majority);
        }
        if matches!(self, Self::Mute | Self::Silent) {
            deafen(&majority, minority);
        }
    }
}

/// Waits until a manager refuses a write because nobody leads it; it answers at once all the time.
fn await_refusal(daemon: &Daemon) {
    let spec = br#"{"Name":"lost","TaskTemplate":{"ContainerSpec":{"Image":"x"}}}"#;
    wait_until(PATIENCE, "it to know that it is alone", || {
        let start = Instant::now();
        let (status, body) = request(daemon, "POST", "/services/create", spec);
        let (elapsed, said) = (start.elapsed(), body["message"].as_str().unwrap_or_default());
        assert!(elapsed < ANSWER_MAX, "{elapsed:?}: {said}");
        assert!(status >= 500, "{status}: {said}");
        said.contains("The swarm does not have a leader").then_some(())
    });
}

/// One cut, healed afterwards: `count` managers, the leader or followers, under a load.
fn cut(cluster: &Cluster, name: &str, cut: Cut, of_leader: bool, count: usize) {
    let lead = await_well(cluster);
    let load = Load::start(cluster, name, CLIENTS);
    let managers = cluster.daemons().len();
    let first = if of_leader { lead } else { lead + 1 };
    let minority: Vec<usize> = (first..first + count).map(|at| at % managers).collect();
    cut.make(cluster, &minority);
    let start = Instant::now();
    load.await_write_after(start);
    minority.iter().for_each(|index| await_refusal(&cluster[*index]));
    cluster.daemons().iter().for_each(|daemon| daemon.host().deafen(&[]));
    await_well(cluster);
    let written = load.end();
    let times = written.first_after(&[start]);
    println!(
        "{cut:?}, {count} cut off, the leader among them: {of_leader}; {} writes, first accepted after {times:?}, \
         longest wait {:?}",
        written.count(),
        written.longest
    );
    assert!(times[0] < GO_ON_MAX && written.longest < GO_ON_MAX);
    written.assert_kept(cluster);
}

fn can_cut() -> bool {
    can_run() && require_command("nft")
}

#[test]
fn three_managers_with_one_cut_off_go_on() {
    if !can_cut() {
        return;
    }
    let cluster = Cluster::swarm_of(3, 0);
    cut(&cluster, "mute", Cut::Mute, true, 1);
    cut(&cluster, "deaf", Cut::Deaf, true, 1);
    cut(&cluster, "follower", Cut::Silent, false, 1);
}

#[test]
fn five_managers_with_two_cut_off_go_on() {
    if !can_cut() {
        return;
    }
    let cluster = Cluster::swarm_of(5, 0);
    cut(&cluster, "silent", Cut::Silent, true, 2);
}

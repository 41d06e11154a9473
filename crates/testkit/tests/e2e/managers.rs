//! Several managers: joining, the loss of the leader, roles, and a lost quorum.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the tests with --nocapture")]

use std::time::{Duration, Instant};

use swarm_testkit::{Cluster, Engine, StockEngine, busybox_image_tar, require_command, wait_until};

use crate::load::Load;
use crate::support::{
    IMAGE, PATIENCE, await_nodes, await_output, await_running, can_run, nodes, processes, services,
};

/// The promise for the first write after a leader's death is 1 s; the rest is for a machine that runs other tests
/// meanwhile.
const FAILOVER_MAX: Duration = Duration::from_secs(5);
/// An answer without a leader is due within a second, and the CLI takes its time too.
const ANSWER_MAX: Duration = Duration::from_secs(2);

fn create(daemon: &impl Engine, name: &str) -> bool {
    let arguments = ["service", "create", "--detach", "--replicas", "0", "--name", name, IMAGE];
    daemon.docker(&[&arguments[..], &["true"]].concat()).success()
}

/// Which daemon leads, as one of them sees it.
pub(crate) fn leader(cluster: &Cluster, asked: usize) -> usize {
    wait_until(PATIENCE, "a leader", || {
        let named = nodes(&cluster[asked]);
        let leader = named.iter().find(|line| line.ends_with("Leader"))?;
        let (name, _) = leader.split_once(':')?;
        name.strip_prefix("node")?.parse::<usize>().ok().map(|number| number - 1)
    })
}

#[test]
fn a_lost_leader_is_replaced_and_comes_back() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 1);
    cluster.load(&busybox_image_tar(IMAGE));
    for daemon in &cluster.daemons()[..3] {
        await_nodes(
            daemon,
            &[
                "node1: Ready Leader",
                "node2: Ready Reachable",
                "node3: Ready Reachable",
                "node4: Ready",
            ],
        );
    }
    cluster[3].docker(&["node", "ls"]).refused();
    // Written through one, read through another.
    assert!(create(&cluster[2], "through3"));
    assert_eq!(services(&cluster[1]), ["through3"]);
    let web = ["service", "create", "--detach", "--replicas", "4", "--name", "web"];
    let prints = [IMAGE, "sh", "-c", "echo hello; exec sleep 1000"];
    cluster[1].docker(&[&web[..], &prints].concat()).ok();
    await_running(&cluster[0], "web", 4);
    // Logs come through a manager that follows, from agents that talk to any.
    await_output(&cluster[2], &["service", "logs", "web"], |text| {
        text.lines().filter(|line| line.ends_with("hello")).count() == 4
    });
    let before: Vec<_> = (1..4).map(|node| processes(&cluster[node])).collect();

    cluster[0].kill();
    let start = Instant::now();
    wait_until(PATIENCE, "a write without the old leader", || {
        create(&cluster[1], "after").then_some(())
    });
    let failover = start.elapsed();
    println!("first write {failover:?} after the leader's death");
    assert!(failover < FAILOVER_MAX, "{failover:?}");
    let inspect = ["node", "inspect", "node1", "--format", "{{.ManagerStatus.Reachability}}"];
    await_output(&cluster[2], &inspect, |text| text == "unreachable");
    println!("unreachable after {:?}", start.elapsed());
    assert_eq!(services(&cluster[2]), ["after", "through3", "web"]);

    cluster[0].restart();
    await_output(&cluster[2], &inspect, |text| text == "reachable");
    let next = leader(&cluster, 0);
    assert_ne!(next, 0, "who comes back follows");
    assert_eq!(services(&cluster[0]), ["after", "through3", "web"]);
    let after: Vec<_> = (1..4).map(|node| processes(&cluster[node])).collect();
    assert_eq!(before, after, "no container was touched");
}

#[test]
fn a_leader_that_is_stopped_hands_over() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    await_nodes(
        &cluster[2],
        &["node1: Ready Leader", "node2: Ready Reachable", "node3: Ready Reachable"],
    );
    assert_eq!(cluster[0].stop(), 0);
    let start = Instant::now();
    assert!(create(&cluster[1], "at-once"), "there is a leader at once");
    println!("first write {:?} after the leader's end", start.elapsed());
    assert!(cluster[0].log().contains("leadership handed over"));
}

#[test]
fn roles_change_on_running_nodes() {
    if !can_run() {
        return;
    }
    let cluster = Cluster::swarm_of(1, 2);
    cluster.load(&busybox_image_tar(IMAGE));
    let web = ["service", "create", "--detach", "--replicas", "3", "--name", "web"];
    cluster[0].docker(&[&web[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    await_running(&cluster[0], "web", 3);
    let before: Vec<_> = cluster.daemons().iter().map(processes).collect();
    let said = cluster[0].docker(&["node", "demote", "node1"]).refused();
    assert!(said.contains("attempting to demote the last manager of the swarm"), "{said}");

    let said = cluster[0].docker(&["node", "promote", "node2", "node3"]).ok();
    assert!(said.contains("Node node2 promoted to a manager in the swarm."), "{said}");
    let all = ["node1: Ready Leader", "node2: Ready Reachable", "node3: Ready Reachable"];
    for daemon in cluster.daemons() {
        await_nodes(daemon, &all);
    }
    let said = cluster[1].docker(&["node", "rm", "--force", "node3"]).refused();
    assert!(said.contains("must be demoted to worker before removal"), "{said}");

    // The leader itself, through another.
    cluster[1].docker(&["node", "demote", "node1"]).ok();
    wait_until(PATIENCE, "the old leader to be a worker", || {
        nodes(&cluster[1]).contains(&"node1: Ready".to_owned()).then_some(())
    });
    let said = wait_until(PATIENCE, "its manager to end", || {
        let output = cluster[0].docker(&["node", "ls"]);
        (!output.success()).then_some(output.stderr)
    });
    assert!(said.contains("This node is not a swarm manager."), "{said}");
    wait_until(PATIENCE, "its certificate to be renewed", || {
        // Each step of a demotion changes the node, and a command fails that comes in between.
        cluster[1].docker(&["node", "update", "--role", "manager", "node1"]).success().then_some(())
    });
    wait_until(PATIENCE, "it to be a manager again", || {
        nodes(&cluster[0]).contains(&"node1: Ready Reachable".to_owned()).then_some(())
    });
    let after: Vec<_> = cluster.daemons().iter().map(processes).collect();
    assert_eq!(before, after, "no container was touched");

    cluster[1].docker(&["node", "demote", "node1"]).ok();
    wait_until(PATIENCE, "it to be a worker again", || {
        nodes(&cluster[1]).contains(&"node1: Ready".to_owned()).then_some(())
    });
    cluster[1].docker(&["node", "rm", "--force", "node1"]).ok();
    assert_eq!(nodes(&cluster[1]).len(), 2);
    let said = cluster[1].docker(&["swarm", "leave"]).refused();
    assert!(said.contains("leaves 1 managers out of 2"), "{said}");
    cluster[2].docker(&["swarm", "leave", "--force"]).ok();
    wait_until(PATIENCE, "the other to be alone", || create(&cluster[1], "alone").then_some(()));
    let info = cluster[1].docker(&["info", "--format", "{{.Swarm.Managers}}"]).ok();
    assert_eq!(info, "1");
}

#[test]
fn a_lost_quorum_is_named_and_comes_back() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(2, 0);
    await_nodes(&cluster[1], &["node1: Ready Leader", "node2: Ready Reachable"]);
    let info = cluster[1].docker(&["info"]);
    let said = format!("{}{}", info.stdout, info.stderr);
    assert!(said.contains("Running Swarm in a two-manager configuration"), "{said}");
    cluster[1].kill();
    wait_until(PATIENCE, "the first one to notice", || {
        let output = cluster[0].docker(&["service", "ls"]);
        (!output.success() && output.stderr.contains("does not have a leader")).then_some(())
    });
    for arguments in [&["node", "ls"][..], &["node", "demote", "node2"], &["service", "rm", "x"]] {
        let start = Instant::now();
        let said = cluster[0].docker(arguments).refused();
        let answer = start.elapsed();
        println!("answered after {answer:?}: {said}");
        assert!(answer < ANSWER_MAX, "{answer:?}");
        for part in ["The swarm does not have a leader.", "node2 (10.77.0.2:2377)"] {
            assert!(said.contains(part), "{said}");
        }
    }
    cluster[1].restart();
    wait_until(PATIENCE, "writes again", || create(&cluster[0], "again").then_some(()));
    assert_eq!(services(&cluster[1]), ["again"]);
}

#[test]
fn acknowledged_writes_outlive_their_leaders() {
    if !can_run() {
        return;
    }
    const KILLS: usize = 6;
    let mut cluster = Cluster::swarm_of(3, 0);
    let all = |cluster: &Cluster, asked: usize| {
        wait_until(PATIENCE, "all managers in reach", || {
            let named = nodes(&cluster[asked]);
            let well = named.iter().filter(|line| !line.contains("Unreachable")).count();
            (named.len() == 3 && well == 3).then_some(())
        });
    };
    all(&cluster, 0);
    let load = Load::start(&cluster, "write", 2);
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        let lost = leader(&cluster, 0);
        cluster[lost].kill();
        kills.push(Instant::now());
        let other = (lost + 1) % 3;
        wait_until(PATIENCE, "a write without the old leader", || {
            create(&cluster[other], &format!("kill{}", kills.len())).then_some(())
        });
        cluster[lost].restart();
        all(&cluster, other);
        all(&cluster, 0);
    }
    let written = load.end();
    let times = written.first_after(&kills);
    println!("{} writes; first accepted after a kill: {times:?}", written.count());
    written.assert_kept(&cluster);
}

#[test]
fn five_managers_lose_two_at_once() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(5, 0);
    wait_until(PATIENCE, "all managers in reach", || {
        let named = nodes(&cluster[4]);
        (named.len() == 5 && !named.concat().contains("Unreachable")).then_some(())
    });
    assert!(create(&cluster[1], "before"));
    cluster[0].kill();
    cluster[3].kill();
    let start = Instant::now();
    wait_until(PATIENCE, "a write without the two", || create(&cluster[1], "after").then_some(()));
    let failover = start.elapsed();
    println!("first write {failover:?} after two of five died, the leader among them");
    assert!(failover < FAILOVER_MAX, "{failover:?}");
    // Three of five are left: none of them can go now.
    wait_until(PATIENCE, "the two to be out of reach", || {
        (nodes(&cluster[1]).concat().matches("Unreachable").count() == 2).then_some(())
    });
    let said = cluster[1].docker(&["node", "demote", "node3"]).refused();
    assert!(said.contains("this would result in a loss of quorum"), "{said}");
    cluster[0].restart();
    cluster[3].restart();
    wait_until(PATIENCE, "all managers in reach", || {
        let named = nodes(&cluster[0]);
        (named.len() == 5 && !named.concat().contains("Unreachable")).then_some(())
    });
    for daemon in cluster.daemons() {
        assert_eq!(services(daemon), ["after", "before"]);
    }
}

#[test]
fn a_leader_out_of_reach_is_replaced_and_its_calls_end() {
    if !can_run() {
        return;
    }
    let cluster = Cluster::swarm_of(3, 1);
    await_nodes(
        &cluster[2],
        &[
            "node1: Ready Leader",
            "node2: Ready Reachable",
            "node3: Ready Reachable",
            "node4: Ready",
        ],
    );
    cluster[0].host().cut_off();
    let start = Instant::now();
    wait_until(PATIENCE, "a write without the old leader", || {
        create(&cluster[1], "after").then_some(())
    });
    println!("first write {:?} after the leader's cable was pulled", start.elapsed());
    // The one that is cut off says so instead of answering from a state that may be old.
    wait_until(PATIENCE, "the old leader to know", || {
        let output = cluster[0].docker(&["node", "ls"]);
        let said = output.stderr;
        (said.contains("does not have a leader") && said.contains("node2")).then_some(())
    });
    wait_until(PATIENCE, "the worker to find the new leader", || {
        let named = nodes(&cluster[1]);
        ["node2", "node3", "node4"]
            .iter()
            .all(|name| named.iter().any(|line| line.starts_with(&format!("{name}: Ready"))))
            .then_some(())
    });
    println!("all others ready {:?} after", start.elapsed());
    cluster[0].host().reconnect();
    let start = Instant::now();
    wait_until(PATIENCE, "the old leader to follow", || {
        nodes(&cluster[0]).contains(&"node1: Ready Reachable".to_owned()).then_some(())
    });
    println!("back {:?} after its cable", start.elapsed());
    assert_eq!(services(&cluster[0]), ["after"]);
}

#[test]
fn a_manager_that_was_removed_stays_out() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    let all = ["node1: Ready Leader", "node2: Ready Reachable", "node3: Ready Reachable"];
    await_nodes(&cluster[1], &all);
    cluster[2].kill();
    let demoted = || cluster[0].docker(&["node", "demote", "node3"]).success().then_some(());
    wait_until(PATIENCE, "it to be demoted", demoted);
    // Two of three are left; without the second, one of two would be.
    let said = wait_until(PATIENCE, "it to be removed", || {
        let output = cluster[0].docker(&["node", "rm", "--force", "node3"]);
        output.success().then_some(output.stdout)
    });
    assert_eq!(said, "node3");
    cluster[2].restart();
    wait_until(PATIENCE, "it to be told", || {
        cluster[2].log().contains("this node stops being a manager").then_some(())
    });
    assert_eq!(nodes(&cluster[0]), all[..2]);
    cluster[2].docker(&["swarm", "leave", "--force"]).ok();
    let token = cluster[1].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    // Through one that follows.
    let remote = format!("{}:2377", cluster[1].host().address());
    let said = cluster[2].docker(&["swarm", "join", "--token", &token, &remote]).ok();
    assert_eq!(said, "This node joined a swarm as a manager.");
    await_nodes(&cluster[2], &all);
}

#[test]
fn a_stock_engine_is_a_manager_among_ours() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let mut cluster = Cluster::swarm_of(2, 0);
    let stock = StockEngine::start(cluster.lab().host("stock"), &[]);
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    let remote = format!("{}:2377", cluster[0].host().address());
    let said = stock.docker(&["swarm", "join", "--token", &token, &remote]).ok();
    assert_eq!(said, "This node joined a swarm as a manager.");
    let all = ["node1: Ready Leader", "node2: Ready Reachable", "stock: Ready Reachable"];
    await_nodes(&cluster[1], &all);
    await_nodes(&stock, &all);
    assert!(create(&stock, "theirs"));
    assert!(create(&cluster[1], "ours"));
    assert_eq!(services(&stock), ["ours", "theirs"]);

    // Its vote counts. It keeps faith with a lost leader for its own election timeout of ten seconds.
    cluster[0].kill();
    let start = Instant::now();
    wait_until(PATIENCE * 2, "a write without the old leader", || {
        create(&cluster[1], "after").then_some(())
    });
    println!("first write {:?} after the leader's death, with a stock voter", start.elapsed());
    cluster[0].restart();
    wait_until(PATIENCE, "all three again", || {
        let named = nodes(&stock);
        (named.len() == 3 && !named.concat().contains("Unreachable")).then_some(())
    });
    assert_eq!(services(&stock), ["after", "ours", "theirs"]);
    wait_until(PATIENCE, "its demotion", || {
        cluster[0].docker(&["node", "demote", "stock"]).success().then_some(())
    });
    wait_until(PATIENCE, "it to be a worker", || {
        nodes(&cluster[0]).contains(&"stock: Ready".to_owned()).then_some(())
    });
}

//! Many creations at once: what is being made counts already.

use std::collections::BTreeMap;
use std::thread;

use swarm_testkit::{Engine, Lab, require_command};

use crate::standalone::{Manager, engines};
use crate::support::{IMAGE, can_run};

const CREATIONS: usize = 30;

#[test]
fn a_burst_of_creations_spreads_evenly() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let lab = Lab::new();
    let (_engines, list) = engines(&lab, 3);
    let manager = Manager::start(lab.host("manager"), &[], &list);
    manager.await_status(&["Healthy"; 3]);
    thread::scope(|scope| {
        for number in 0..CREATIONS {
            let name = format!("burst-{number}");
            let manager = &manager;
            scope.spawn(move || manager.docker(&["create", "--name", &name, IMAGE]).ok());
        }
    });
    let listed = manager.docker(&["ps", "--all", "--format", "{{.Names}}"]).ok();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in listed.lines() {
        *counts.entry(name.split('/').next().unwrap_or_default()).or_default() += 1;
    }
    let even = CREATIONS / 3;
    assert_eq!(counts, [("node1", even), ("node2", even), ("node3", even)].into());

    // One slot of a name: of several at once one gets it.
    let alone = ["--label", "alone=yes", "--env", "affinity:alone!=yes"];
    let made: usize = thread::scope(|scope| {
        let runs = (0..5).map(|_| {
            let manager = &manager;
            scope.spawn(move || {
                manager.docker(&[&["create"], &alone[..], &[IMAGE]].concat()).success()
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().map(|run| usize::from(run.join().expect("it ran"))).sum()
    });
    assert_eq!(made, 3, "one on each engine");
    for (dependency, expect) in [
        (["--link", "burst-1:db"], "burst-1"),
        (["--volumes-from", "burst-2"], "burst-2"),
        (["--network", "container:burst-3"], "burst-3"),
        (["--pid", "container:burst-4"], "burst-4"),
    ] {
        let name = format!("with-{expect}");
        manager.docker(&[&["create", "--name", &name], &dependency[..], &[IMAGE]].concat()).ok();
        assert_eq!(manager.node_of(&name), manager.node_of(expect), "{dependency:?}");
    }
}

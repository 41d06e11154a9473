//! Managers whose machine gets another address: the others follow, by the certificate.

use swarm_testkit::{Cluster, Daemon, Engine, busybox_image_tar, wait_until};

use crate::support::{IMAGE, PATIENCE, await_running, can_run, processes};

/// Gives the machine another address on its only interface.
fn readdress(daemon: &Daemon, from: &str, to: &str) {
    for words in [["addr", "del", from, "dev", "eth0"], ["addr", "add", to, "dev", "eth0"]] {
        let done = daemon.host().command("ip").args(words).output().expect("run ip");
        assert!(done.status.success(), "{done:?}");
    }
}

/// Waits until all managers are in reach, this one under this address.
#[track_caller]
fn await_address(asked: &Daemon, node: &str, address: &str, managers: usize) {
    wait_until(PATIENCE, &format!("{node} at {address}"), || {
        let format = "{{.ManagerStatus.Addr}}";
        let output = asked.docker(&["node", "inspect", node, "--format", format]);
        let listed =
            asked.docker(&["node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"]).stdout;
        let well = listed.lines().filter(|line| ["Ready Leader", "Ready Reachable"].contains(line));
        (output.stdout == address && well.count() == managers).then_some(())
    });
}

#[test]
fn the_others_follow_a_manager_to_its_new_address() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 1);
    cluster.load(&busybox_image_tar(IMAGE));
    let web = ["service", "create", "--detach", "--replicas", "4", "--name", "web"];
    cluster[0].docker(&[&web[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    await_running(&cluster[0], "web", 4);
    let before: Vec<_> = cluster.daemons().iter().map(processes).collect();

    // While the daemon is down.
    assert_eq!(cluster[1].stop(), 0);
    readdress(&cluster[1], "10.77.0.2/24", "10.77.0.22/24");
    cluster[1].restart();
    await_address(&cluster[2], "node2", "10.77.0.22:2377", 3);
    let info = cluster[1].docker(&["info", "--format", "{{.Swarm.NodeAddr}}"]).ok();
    assert_eq!(info, "10.77.0.22");

    // While it runs, and leads.
    readdress(&cluster[0], "10.77.0.1/24", "10.77.0.11/24");
    await_address(&cluster[2], "node1", "10.77.0.11:2377", 3);
    await_address(&cluster[1], "node1", "10.77.0.11:2377", 3);
    // The worker knows them all by their new addresses.
    wait_until(PATIENCE, "the worker to know", || {
        let format = "{{range .Swarm.RemoteManagers}}{{.Addr}} {{end}}";
        let told = cluster[3].docker(&["info", "--format", format]).ok();
        ["10.77.0.11:2377", "10.77.0.22:2377", "10.77.0.3:2377"]
            .iter()
            .all(|address| told.contains(address))
            .then_some(())
    });
    let after: Vec<_> = cluster.daemons().iter().map(processes).collect();
    assert_eq!(before, after, "no container was touched");
}

#[test]
fn a_lonely_manager_goes_on_under_its_new_address() {
    if !can_run() {
        return;
    }
    let cluster = Cluster::swarm_of(1, 0);
    readdress(&cluster[0], "10.77.0.1/24", "10.77.0.11/24");
    await_address(&cluster[0], "node1", "10.77.0.11:2377", 1);
    let token = cluster[0].docker(&["swarm", "join-token", "worker"]).ok();
    assert!(token.contains("10.77.0.11:2377"), "{token}");
}

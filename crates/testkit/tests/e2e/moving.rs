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

#[test]
fn a_copy_of_a_managers_folder_is_refused_while_the_manager_lives() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    assert_eq!(cluster[2].stop(), 0);
    let folder = |daemon: &Daemon| daemon.data_root().join("swarm");
    let (own, other) = (folder(&cluster[2]), folder(&cluster[1]));
    let kept = own.with_extension("kept");
    std::fs::rename(&own, &kept).expect("put aside");
    let copied = std::process::Command::new("cp").arg("-a").args([&other, &own]).status();
    assert!(copied.expect("run cp").success());
    cluster[2].restart();
    let told = cluster[2].docker(&["node", "ls"]).refused();
    assert!(told.contains("is a copy") && told.contains("runs at 10.77.0.2:2377"), "{told}");
    await_address(&cluster[0], "node2", "10.77.0.2:2377", 2);

    // With its own folder it is a manager again, unless its log is gone.
    assert_eq!(cluster[2].stop(), 0);
    std::fs::remove_dir_all(&own).expect("remove the copy");
    std::fs::rename(&kept, &own).expect("put back");
    cluster[2].restart();
    await_address(&cluster[0], "node3", "10.77.0.3:2377", 3);
    assert_eq!(cluster[2].stop(), 0);
    for file in std::fs::read_dir(own.join("raft")).expect("list") {
        let path = file.expect("list").path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            std::fs::remove_file(path).expect("lose the log");
        }
    }
    cluster[2].restart();
    let told = cluster[2].docker(&["node", "ls"]).refused();
    assert!(told.contains("is missing, and this manager had one"), "{told}");
}

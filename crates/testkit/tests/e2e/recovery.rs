//! Recovery from a disaster: a new cluster forced out of one manager's data, backups, damaged logs, copied data.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use swarm_testkit::{
    Cluster, Daemon, Engine, Lab, StockEngine, busybox_image_tar, require_command, swarm_binary,
    wait_until,
};

use crate::support::{
    IMAGE, PATIENCE, await_nodes_as, await_running, can_run, nodes, processes, request, services,
};

/// As `support::await_nodes`. A node that a new leader does not know yet counts as down already: it will be, in the time
/// that stock engines are given.
#[track_caller]
fn await_nodes(daemon: &Daemon, expect: &[&str]) {
    await_nodes_as(daemon, expect, |line| line.replace(": Unknown", ": Down"));
}

fn create(daemon: &Daemon, name: &str, replicas: usize) {
    let replicas = replicas.to_string();
    let flags = ["service", "create", "--detach", "--replicas", &replicas, "--name", name];
    daemon.docker(&[&flags[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
}

/// The command, and how long it took.
#[track_caller]
fn force(daemon: &Daemon, flags: &[&str]) -> Duration {
    let start = Instant::now();
    let said = daemon.docker(&[&["swarm", "init", "--force-new-cluster"], flags].concat()).ok();
    assert!(said.contains("is now a manager"), "{said}");
    start.elapsed()
}

/// How long a new cluster may take on a machine that runs other tests meanwhile.
const FORCE_MAX: Duration = Duration::from_secs(10);

#[test]
fn one_manager_goes_on_alone_after_the_loss_of_the_quorum() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 1);
    cluster.load(&busybox_image_tar(IMAGE));
    create(&cluster[2], "web", 8);
    await_running(&cluster[0], "web", 8);
    let config = support_config(&cluster);
    let (own, workers) = (processes(&cluster[0]), processes(&cluster[3]));
    let id = cluster[0].docker(&["info", "--format", "{{.Swarm.Cluster.ID}}"]).ok();
    cluster[1].kill_machine();
    cluster[2].kill_machine();
    let file = cluster.lab().folder().join("none.backup");
    let said = wait_until(PATIENCE, "the quorum to be missed", || {
        swarm(&cluster[0], &["backup", file.to_str().expect("plain")]).err()
    });
    assert!(said.contains("no consistent backup can be made now"), "{said}");
    assert!(!file.exists());

    let took = force(&cluster[0], &["--listen-addr", "10.77.0.1:2377"]);
    assert!(took < FORCE_MAX, "{took:?}");
    assert_eq!(cluster[0].docker(&["info", "--format", "{{.Swarm.Cluster.ID}}"]).ok(), id);
    assert_eq!(cluster[0].docker(&["info", "--format", "{{.Swarm.Managers}}"]).ok(), "1");
    await_nodes(
        &cluster[0],
        &["node1: Ready Leader", "node2: Down", "node3: Down", "node4: Ready"],
    );
    assert_eq!(services(&cluster[0]), ["web"]);
    assert_eq!(cluster[0].docker(&["config", "ls", "--format", "{{.Name}}"]).ok(), config);
    await_running(&cluster[0], "web", 8);
    for (before, node) in [(&own, 0), (&workers, 3)] {
        let after = processes(&cluster[node]);
        assert!(before.iter().all(|kept| after.get(kept.0) == Some(kept.1)), "none was touched");
    }

    // Twice in a row, and through a restart.
    force(&cluster[0], &[]);
    create(&cluster[0], "second", 0);
    cluster[0].kill();
    cluster[0].restart();
    assert_eq!(services(&cluster[0]), ["second", "web"]);
    await_nodes(
        &cluster[0],
        &["node1: Ready Leader", "node2: Down", "node3: Down", "node4: Ready"],
    );

    // One of the others comes back: a worker, until it is promoted.
    cluster[1].restart();
    wait_until(PATIENCE, "it to be told", || {
        cluster[1].log().contains("this node stops being a manager").then_some(())
    });
    await_nodes(
        &cluster[0],
        &["node1: Ready Leader", "node2: Ready", "node3: Down", "node4: Ready"],
    );
    wait_until(PATIENCE, "its promotion", || {
        // Its own state changes meanwhile, and then the command is to be given again.
        cluster[0].docker(&["node", "promote", "node2"]).success().then_some(())
    });
    let two = ["node1: Ready Leader", "node2: Ready Reachable", "node3: Down", "node4: Ready"];
    await_nodes(&cluster[1], &two);
    // The other one joins anew.
    cluster[2].restart();
    cluster[2].docker(&["swarm", "leave", "--force"]).ok();
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    cluster[2].docker(&["swarm", "join", "--token", &token, "10.77.0.1:2377"]).ok();
    wait_until(PATIENCE, "three managers", || {
        let named = nodes(&cluster[0]);
        named.contains(&"node3: Ready Reachable".to_owned()).then_some(())
    });
    assert_eq!(services(&cluster[2]), ["second", "web"]);
}

/// Something else to be kept; its name.
fn support_config(cluster: &Cluster) -> String {
    let path = crate::support::file(cluster, "motd", b"hello");
    let path = path.to_str().expect("a plain path");
    cluster[0].docker(&["config", "create", "motd", path]).ok();
    "motd".to_owned()
}

#[test]
fn a_new_cluster_is_forced_on_managers_only() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(1, 1);
    cluster.load(&busybox_image_tar(IMAGE));
    let lone = Daemon::start(cluster.lab().host("lone"), &[]);
    let force = ["swarm", "init", "--force-new-cluster"];
    let refused = |daemon: &Daemon, more: &[&str], expect: &str| {
        let said = daemon.docker(&[&force[..], more].concat()).refused();
        assert!(said.contains(expect), "{said}");
    };
    refused(&lone, &[], "This node is not part of a swarm, so there is no state");
    refused(&cluster[1], &[], "This node is not a swarm manager. Worker nodes can't be used");
    refused(&cluster[0], &["--advertise-addr", "nonsense"], "advertise");
    refused(&cluster[0], &["--cert-expiry", "48h"], "keeps the swarm's settings");
    let said = cluster[0].docker(&["swarm", "init"]).refused();
    assert!(said.contains("This node is already part of a swarm."), "{said}");

    // Alone already; the worker stays, and goes on while the address changes.
    create(&cluster[0], "web", 4);
    await_running(&cluster[0], "web", 4);
    let before = [processes(&cluster[0]), processes(&cluster[1])];
    ip(&cluster[0], &["address", "add", "10.77.0.101/24", "dev", "eth0"]);
    self::force(&cluster[0], &["--advertise-addr", "10.77.0.101"]);
    await_nodes(&cluster[0], &["node1: Ready Leader", "node2: Ready"]);
    let addr = ["node", "inspect", "self", "--format", "{{.ManagerStatus.Addr}}"];
    assert_eq!(cluster[0].docker(&addr).ok(), "10.77.0.101:2377");
    let managers = ["info", "--format", "{{range .Swarm.RemoteManagers}}{{.Addr}}{{end}}"];
    wait_until(PATIENCE, "the worker to know the new address", || {
        (cluster[1].docker(&managers).ok() == "10.77.0.101:2377").then_some(())
    });
    ip(&cluster[0], &["address", "del", "10.77.0.1/24", "dev", "eth0"]);
    cluster[1].kill();
    cluster[1].restart();
    await_nodes(&cluster[0], &["node1: Ready Leader", "node2: Ready"]);
    await_running(&cluster[0], "web", 4);
    let after = [processes(&cluster[0]), processes(&cluster[1])];
    assert_eq!(before, after, "no container was touched");
}

/// Our executable on a daemon's host, with its socket: what it prints, or its refusal.
fn swarm(daemon: &Daemon, arguments: &[&str]) -> Result<String, String> {
    let mut command = daemon.host().command(swarm_binary());
    command.args(arguments).arg("--host").arg(format!("unix://{}", daemon.socket().display()));
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

fn ip(daemon: &Daemon, arguments: &[&str]) {
    let status = daemon.host().command("ip").args(arguments).status().expect("ip runs");
    assert!(status.success(), "{arguments:?}");
}

#[test]
fn a_swarm_is_backed_up_and_restored_elsewhere() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(2, 1);
    cluster.load(&busybox_image_tar(IMAGE));
    let spare = Daemon::start(cluster.lab().host("spare"), &[]);
    create(&cluster[0], "web", 3);
    await_running(&cluster[0], "web", 3);
    let config = support_config(&cluster);
    let inspect = |daemon: &Daemon, what: &str| {
        daemon.docker(&["info", "--format", &format!("{{{{.Swarm.{what}}}}}")]).ok()
    };
    let id = inspect(&cluster[0], "Cluster.ID");
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    let file = |name: &str| cluster.lab().folder().join(name).to_str().expect("plain").to_owned();
    let (plain, sealed, key, wrong) = (file("plain"), file("sealed"), file("key"), file("wrong"));
    fs::write(&key, "correct horse\n").expect("written");
    fs::write(&wrong, "horse\n").expect("written");
    // From a manager that follows; what was acknowledged a moment ago is in it.
    create(&cluster[0], "last", 0);
    let said = swarm(&cluster[1], &["backup", &plain]).expect("a backup");
    assert!(said.starts_with("The swarm was backed up to"), "{said}");
    assert_eq!(fs::metadata(&plain).expect("there").permissions().mode() & 0o777, 0o600);
    swarm(&cluster[0], &["backup", "--key", &key, &sealed]).expect("a backup");
    let said = swarm(&cluster[2], &["backup", &plain]).expect_err("a worker");
    assert!(said.contains("This node is not a swarm manager."), "{said}");
    let said = swarm(&spare, &["backup", &plain]).expect_err("no member");
    assert!(said.contains("This node is not a swarm manager."), "{said}");

    let whole = fs::read(&plain).expect("there");
    let harmed = |name: &str, harm: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        harm(&mut bytes);
        let path = file(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let half = whole.len() / 2;
    let damaged = harmed("damaged", &|bytes| bytes[half] ^= 1);
    let truncated = harmed("truncated", &|bytes| bytes.truncate(half));
    let newer = harmed("newer", &|bytes| bytes[8] = 9);
    for (arguments, expect) in [
        (&[&*damaged][..], "the backup is damaged"),
        (&[&truncated], "the backup is cut off"),
        (&[&newer], "the backup has format 9"),
        (&[&key], "this is not a backup of a swarm"),
        (&[&file("none")], "No such file"),
        (&[&sealed], "the backup is encrypted"),
        (&["--key", &wrong, &sealed], "does not open with this key"),
        (&["--advertise-addr", "nonsense", &plain], "advertise"),
    ] {
        let said = swarm(&spare, &[&["restore"], arguments].concat()).expect_err(expect);
        assert!(said.contains(expect), "{said}");
        assert_eq!(inspect(&spare, "LocalNodeState"), "inactive", "{expect}");
    }
    let said = swarm(&cluster[0], &["restore", &plain]).expect_err("is a member");
    assert!(said.contains("This node is already part of a swarm."), "{said}");

    // Both managers are lost; another machine gets the address of one.
    let before = processes(&cluster[2]);
    for lost in 0..2 {
        cluster[lost].kill_machine();
        cluster[lost].host().cut_off();
    }
    ip(&spare, &["address", "add", "10.77.0.1/24", "dev", "eth0"]);
    // What a machine announces that takes an address over.
    ip(&cluster[2], &["neighbour", "flush", "dev", "eth0"]);
    let advertise = ["--advertise-addr", "10.77.0.1", "--key", &key, &sealed];
    let said = swarm(&spare, &[&["restore"], &advertise[..]].concat()).expect("restored");
    assert!(said.starts_with("Swarm restored: current node ("), "{said}");
    assert_eq!(inspect(&spare, "Cluster.ID"), id);
    await_nodes(&spare, &["node1: Down", "node2: Down", "node3: Ready", "spare: Ready Leader"]);
    assert_eq!(services(&spare), ["last", "web"]);
    assert_eq!(spare.docker(&["config", "ls", "--format", "{{.Name}}"]).ok(), config);
    assert_eq!(spare.docker(&["swarm", "join-token", "--quiet", "worker"]).ok(), token);
    // It has no image, and no registry to get one from.
    wait_until(PATIENCE, "it to be drained", || {
        let drain = ["node", "update", "--availability", "drain", "spare"];
        spare.docker(&drain).success().then_some(())
    });
    await_running(&spare, "web", 3);
    let after = processes(&cluster[2]);
    assert!(before.iter().all(|kept| after.get(kept.0) == Some(kept.1)), "none was touched");
    create(&spare, "new", 1);
    await_running(&spare, "new", 1);
    // A manager of old is none of the new swarm's.
    cluster[1].host().reconnect();
    cluster[1].restart();
    await_nodes(&spare, &["node1: Down", "node2: Ready", "node3: Ready", "spare: Ready Leader"]);
    assert!(!cluster[1].docker(&["node", "ls"]).success());
}

#[test]
fn a_new_cluster_that_was_interrupted_is_finished() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(2, 0);
    create(&cluster[1], "web", 0);
    wait_until(PATIENCE, "it to be everywhere", || {
        (services(&cluster[0]) == ["web"]).then_some(())
    });
    cluster[0].kill();
    cluster[1].kill();
    // As a crash leaves it that comes right after the command.
    let path = cluster[0].data_root().join("swarm/state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).expect("reads")).expect("JSON");
    state["force_new_cluster"] = Value::Bool(true);
    fs::write(&path, state.to_string()).expect("writes");
    cluster[0].restart();
    await_nodes(&cluster[0], &["node1: Ready Leader", "node2: Down"]);
    assert_eq!(services(&cluster[0]), ["web"]);
    assert!(!fs::read_to_string(&path).expect("reads").contains("force_new_cluster"));

    // Listening where no other machine can, its folder moves to another one, which takes its own address.
    force(&cluster[0], &["--listen-addr", "10.77.0.1:2377"]);
    cluster[0].stop();
    let folder = cluster[1].data_root().join("swarm");
    fs::remove_dir_all(&folder).expect("removed");
    copy_folder(&cluster[0].data_root().join("swarm"), &folder);
    cluster[1].restart();
    force(&cluster[1], &[]);
    assert_eq!(services(&cluster[1]), ["web"]);
    let addr = ["node", "inspect", "self", "--format", "{{.ManagerStatus.Addr}}"];
    assert_eq!(cluster[1].docker(&addr).ok(), "10.77.0.2:2377");
}

#[test]
fn a_stock_worker_comes_back_to_a_new_cluster() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let mut cluster = Cluster::swarm_of(2, 0);
    let stock = StockEngine::start(cluster.lab().host("stock"), &[]);
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    stock.docker(&["swarm", "join", "--token", &token, "10.77.0.1:2377"]).ok();
    cluster[1].kill();
    force(&cluster[0], &[]);
    await_nodes(&cluster[0], &["node1: Ready Leader", "node2: Down", "stock: Ready"]);
}

#[test]
fn a_manager_keeps_backups_by_itself() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let folder = lab.folder().join("backups");
    let path = folder.to_str().expect("plain");
    let flags = ["--backup-dir", path, "--backup-interval", "10s", "--backup-keep", "1"];
    let daemon = Daemon::start(lab.host("node1"), &flags);
    assert!(!folder.exists(), "no manager, no backups");
    daemon.docker(&["swarm", "init", "--advertise-addr", "10.77.0.1"]).ok();
    let kept = || -> Vec<PathBuf> {
        let names = fs::read_dir(&folder).into_iter().flatten();
        names.map(|entry| entry.expect("lists").path()).collect()
    };
    let first = wait_until(PATIENCE, "a backup", || {
        kept().into_iter().find(|path| path.extension().is_some_and(|end| end == "backup"))
    });
    create(&daemon, "web", 0);
    let second = wait_until(PATIENCE, "the next one alone", || {
        kept().into_iter().find(|path| *path != first && kept().len() == 1)
    });
    daemon.docker(&["swarm", "leave", "--force"]).ok();
    swarm(&daemon, &["restore", second.to_str().expect("plain")]).expect("restored");
    assert_eq!(services(&daemon), ["web"]);
}

/// `docker info`'s state and error of a node's membership.
fn membership(daemon: &Daemon) -> String {
    daemon.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}: {{.Swarm.Error}}"]).ok()
}

/// The newest segment of a manager's log.
fn newest_segment(daemon: &Daemon) -> PathBuf {
    let entries = fs::read_dir(daemon.data_root().join("swarm/raft")).expect("lists");
    let paths = entries.map(|entry| entry.expect("lists").path());
    let segments = paths.filter(|path| path.extension().is_some_and(|end| end == "wal"));
    segments.max().expect("a log has one")
}

fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).expect("has records") + 1
}

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} to {}", from.display(), to.display());
}

#[test]
fn a_damaged_log_is_refused_and_says_what_to_do() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(1, 0);
    let names = ["one", "two", "three"];
    names.iter().for_each(|name| create(&cluster[0], name, 0));
    cluster[0].kill();
    let path = newest_segment(&cluster[0]);
    let sound = fs::read(&path).expect("reads");
    // In the first record, in the middle and in the last one.
    for at in [100, end_of(&sound) / 2, end_of(&sound) - 20] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, &damaged).expect("writes");
        cluster[0].restart();
        let said = membership(&cluster[0]);
        let place = format!("the raft log is damaged at {} byte ", path.display());
        assert!(said.starts_with("error: "), "{said}");
        for part in [&*place, "leave the swarm with --force and join it anew", "restore a backup"] {
            assert!(said.contains(part), "{said}");
        }
        let (status, body) = request(&cluster[0], "GET", "/services", b"");
        assert_eq!(status, 503);
        assert!(body["message"].as_str().is_some_and(|said| said.contains(&place)), "{body}");
        assert!(cluster[0].log().contains(&place));
        let said = cluster[0].docker(&["swarm", "leave"]).refused();
        assert!(said.contains("Leaving erases what is left of its data"), "{said}");
        let said = cluster[0].docker(&["swarm", "init"]).refused();
        assert!(said.contains("already part of a swarm"), "{said}");
        let said = cluster[0].docker(&["swarm", "init", "--force-new-cluster"]).refused();
        assert!(said.contains(&place), "{said}");
        cluster[0].kill();
        assert!(fs::read(&path).expect("reads") == damaged, "it is left as it is");
    }
    // A write that was under way when the power went is none of that.
    let mut torn = sound.clone();
    let end = end_of(&sound).next_multiple_of(16);
    torn[end..end + 10].fill(0x33);
    fs::write(&path, &torn).expect("writes");
    cluster[0].restart();
    wait_until(PATIENCE, "the manager to lead", || {
        cluster[0].docker(&["service", "ls"]).success().then_some(())
    });
    assert_eq!(services(&cluster[0]), ["one", "three", "two"]);
    assert!(cluster[0].log().contains("a write that was not finished"));
}

#[test]
fn one_damaged_manager_joins_anew() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    create(&cluster[0], "web", 0);
    cluster[1].kill();
    let path = newest_segment(&cluster[1]);
    let mut bytes = fs::read(&path).expect("reads");
    bytes[100] ^= 1;
    fs::write(&path, bytes).expect("writes");
    cluster[1].restart();
    assert!(membership(&cluster[1]).starts_with("error: "));
    // The others go on, and take it back.
    create(&cluster[2], "after", 0);
    cluster[1].docker(&["swarm", "leave", "--force"]).ok();
    let old = cluster[0].docker(&["node", "inspect", "node2", "--format", "{{.ID}}"]).ok();
    let gone = |arguments: &[&str]| {
        wait_until(PATIENCE, "the old one to go", || {
            cluster[0].docker(arguments).success().then_some(())
        });
    };
    gone(&["node", "demote", &old]);
    gone(&["node", "rm", "--force", &old]);
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    cluster[1].docker(&["swarm", "join", "--token", &token, "10.77.0.1:2377"]).ok();
    wait_until(PATIENCE, "three managers", || {
        let named = nodes(&cluster[1]);
        (named.len() == 3 && named.concat().matches("Reachable").count() == 2).then_some(())
    });
    assert_eq!(services(&cluster[1]), ["after", "web"]);
}

#[test]
fn data_of_another_node_and_old_data_are_refused() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    create(&cluster[0], "web", 0);
    let raft = |daemon: &Daemon| daemon.data_root().join("swarm/raft");
    let kept = cluster.lab().folder().join("kept");
    fs::create_dir(&kept).expect("a folder");

    // The log of one in the place of another's.
    cluster[1].stop();
    fs::rename(raft(&cluster[1]), kept.join("own")).expect("renamed");
    copy_folder(&raft(&cluster[0]), &raft(&cluster[1]));
    cluster[1].restart();
    let said = membership(&cluster[1]);
    for part in ["error: ", "belongs to manager", "cannot be used by another node"] {
        assert!(said.contains(part), "{said}");
    }
    cluster[1].stop();
    fs::remove_dir_all(raft(&cluster[1])).expect("removed");

    // Its own of before: it has acknowledged more since.
    copy_folder(&kept.join("own"), &raft(&cluster[1]));
    cluster[1].restart();
    wait_until(PATIENCE, "it to be back", || {
        nodes(&cluster[0]).contains(&"node2: Ready Reachable".to_owned()).then_some(())
    });
    create(&cluster[0], "since", 0);
    wait_until(PATIENCE, "it to have everything", || {
        (services(&cluster[1]) == ["since", "web"]).then_some(())
    });
    cluster[1].kill();
    fs::remove_dir_all(raft(&cluster[1])).expect("removed");
    copy_folder(&kept.join("own"), &raft(&cluster[1]));
    cluster[1].restart();
    let said = wait_until(PATIENCE, "it to notice", || {
        let said = membership(&cluster[1]);
        said.contains("this manager's data is older than what it acknowledged").then_some(said)
    });
    assert!(said.contains("leave the swarm with --force and join it anew"), "{said}");
    create(&cluster[0], "still", 0);
    wait_until(PATIENCE, "commands to be told", || {
        let output = cluster[1].docker(&["node", "ls"]);
        output.stderr.contains("is older than what it acknowledged").then_some(())
    });
}

#[test]
fn a_removed_manager_does_not_come_back_with_its_old_data() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 0);
    create(&cluster[0], "web", 0);
    let folder = cluster[2].data_root().join("swarm");
    let kept = cluster.lab().folder().join("kept");
    cluster[2].stop();
    copy_folder(&folder, &kept);
    for arguments in [&["node", "demote", "node3"][..], &["node", "rm", "--force", "node3"]] {
        wait_until(PATIENCE, "it to go", || cluster[0].docker(arguments).success().then_some(()));
    }
    let two = ["node1: Ready Leader", "node2: Ready Reachable"];
    // Twice: what it was told the first time it could not keep, as the old data is put back.
    for times in 1..3 {
        cluster[2].restart();
        wait_until(PATIENCE, "it to be told", || {
            let told = cluster[2].log().matches("this node stops being a manager").count();
            (told >= times).then_some(())
        });
        assert_eq!(nodes(&cluster[0]), two);
        create(&cluster[0], &format!("after{times}"), 0);
        cluster[2].stop();
        fs::remove_dir_all(&folder).expect("removed");
        copy_folder(&kept, &folder);
    }
    assert_eq!(nodes(&cluster[1]), two);
}

#[test]
fn a_copied_folder_becomes_a_swarm_on_another_machine() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 1);
    cluster.load(&busybox_image_tar(IMAGE));
    let mut spare = Daemon::start(cluster.lab().host("spare"), &[]);
    let config = support_config(&cluster);
    create(&cluster[1], "web", 4);
    await_running(&cluster[2], "web", 4);
    let before = processes(&cluster[3]);
    // A manager is stopped, its folder is copied, and it goes on.
    cluster[2].stop();
    spare.stop();
    copy_folder(&cluster[2].data_root().join("swarm"), &spare.data_root().join("swarm"));
    for lost in 0..2 {
        cluster[lost].kill_machine();
    }
    spare.restart();
    let listen = format!("{}:2377", spare.host().address());
    let took = force(&spare, &["--listen-addr", &listen]);
    assert!(took < FORCE_MAX, "{took:?}");
    assert_eq!(services(&spare), ["web"]);
    assert_eq!(spare.docker(&["config", "ls", "--format", "{{.Name}}"]).ok(), config);
    let addr = ["node", "inspect", "self", "--format", "{{.ManagerStatus.Addr}}"];
    assert_eq!(spare.docker(&addr).ok(), listen);
    // The worker never heard of this address; its containers stay while it is shown it.
    let token = spare.docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    let join = |remote: &str| cluster[3].docker(&["swarm", "join", "--token", &token, remote]);
    let said = join("10.77.0.99:2377").refused();
    assert!(said.contains("is not a manager of this node's swarm"), "{said}");
    assert_eq!(join(&listen).ok(), "This node joined a swarm as a worker.");
    let all = ["node1: Down", "node2: Down", "node4: Ready", "spare: Ready Leader"];
    await_nodes(&spare, &all);
    let said = join(&listen).refused();
    assert!(said.contains("This node is already part of a swarm."), "{said}");
    let after = processes(&cluster[3]);
    assert!(before.iter().all(|kept| after.get(kept.0) == Some(kept.1)), "none was touched");

    spare.docker(&["node", "rm", "--force", "node1", "node2"]).ok();
    let token = spare.docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    cluster[0].restart();
    cluster[0].docker(&["swarm", "leave", "--force"]).ok();
    cluster[0].docker(&["swarm", "join", "--token", &token, &listen]).ok();
    await_nodes(&cluster[0], &["node1: Ready Reachable", "node4: Ready", "spare: Ready Leader"]);
}

#[test]
fn locked_managers_are_backed_up_forced_and_restored_with_their_key() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::start(3);
    let address = cluster[0].host().address().to_string();
    cluster[0].docker(&["swarm", "init", "--autolock", "--advertise-addr", &address]).ok();
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    let remote = format!("{address}:2377");
    cluster[1].docker(&["swarm", "join", "--token", &token, &remote]).ok();
    create(&cluster[0], "web", 0);
    let key = cluster[0].docker(&["swarm", "unlock-key", "--quiet"]).ok();
    let path = |name: &str| cluster.lab().folder().join(name).to_str().expect("plain").to_owned();
    let (file, key_file) = (path("sealed"), path("key"));
    fs::write(&key_file, &key).expect("written");
    swarm(&cluster[1], &["backup", &file]).expect("a backup");

    // One of two is lost, the other one is locked: it is unlocked first.
    cluster[1].kill();
    cluster[0].kill();
    cluster[0].restart();
    let init = ["swarm", "init", "--force-new-cluster"];
    let said = cluster[0].docker(&init).refused();
    assert!(said.contains("needs to be unlocked before it can be used"), "{said}");
    unlock(&cluster[0], &key);
    force(&cluster[0], &[]);
    assert_eq!(services(&cluster[0]), ["web"]);
    await_nodes(&cluster[0], &["node1: Ready Leader", "node2: Down"]);
    cluster[0].kill();
    cluster[0].restart();
    assert!(membership(&cluster[0]).starts_with("locked: "));
    unlock(&cluster[0], &key);
    wait_until(PATIENCE, "it to lead", || {
        cluster[0].docker(&["service", "ls"]).success().then_some(())
    });

    // The backup needs the same key, and what it is restored to is locked with it.
    let said = swarm(&cluster[2], &["restore", &file]).expect_err("no key");
    assert!(said.contains("the backup is encrypted"), "{said}");
    swarm(&cluster[2], &["restore", "--key", &key_file, &file]).expect("restored");
    assert_eq!(services(&cluster[2]), ["web"]);
    assert_eq!(cluster[2].docker(&["swarm", "unlock-key", "--quiet"]).ok(), key);
    cluster[2].kill();
    cluster[2].restart();
    assert!(membership(&cluster[2]).starts_with("locked: "));
    unlock(&cluster[2], &key);
    wait_until(PATIENCE, "it to lead", || {
        cluster[2].docker(&["service", "ls"]).success().then_some(())
    });
}

fn unlock(daemon: &Daemon, key: &str) {
    let body = format!(r#"{{"UnlockKey":"{key}"}}"#);
    let (status, said) = request(daemon, "POST", "/swarm/unlock", body.as_bytes());
    assert_eq!(status, 200, "{said}");
}

#[test]
fn a_daemon_that_ended_while_it_founded_a_cluster_is_in_none() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::start(1);
    let init = ["swarm", "init", "--advertise-addr", "10.77.0.1"];
    cluster[0].docker(&init).ok();
    assert_eq!(cluster[0].stop(), 0);
    // As it is until the cluster is on disk.
    let path = cluster[0].data_root().join("swarm/state.json");
    let saved = std::fs::read_to_string(&path).expect("the state");
    let founding = saved.replace("\"raft_id\": 0", "\"raft_id\": 7");
    assert_ne!(saved, founding);
    std::fs::write(&path, founding).expect("written");
    cluster[0].restart();
    let state = cluster[0].docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok();
    assert_eq!(state, "inactive");
    cluster[0].docker(&init).ok();
    cluster[0].docker(&["node", "ls"]).ok();
}

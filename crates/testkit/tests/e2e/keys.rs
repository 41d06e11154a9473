//! Locked managers, what lies on their disks, and the rotation of the root CA.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the tests with --nocapture")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use swarm_testkit::{
    Cluster, Daemon, Engine, Output, StockEngine, busybox_image_tar, require_command, wait_until,
};

use crate::support::{IMAGE, PATIENCE, await_output, await_running, can_run, processes};

const LOCKED: &str = "Swarm is encrypted and needs to be unlocked before it can be used. \
                      Please use \"docker swarm unlock\" to unlock it.";
/// What must never be read on a manager's disk.
const SECRET: &str = "correct-horse-battery-staple";

fn unlock_key(manager: &impl Engine) -> String {
    manager.docker(&["swarm", "unlock-key", "--quiet"]).ok()
}

/// `docker swarm unlock` with this key on its standard input.
fn unlock(daemon: &Daemon, key: &str) -> Output {
    daemon.docker_given(&["swarm", "unlock"], &format!("{key}\n"))
}

fn state(daemon: &Daemon) -> String {
    daemon.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok()
}

fn restart(daemon: &mut Daemon) {
    assert_eq!(daemon.stop(), 0);
    daemon.restart();
}

fn key_file(daemon: &Daemon) -> String {
    let path = daemon.data_root().join("swarm/certificates/swarm-node.key");
    fs::read_to_string(path).expect("the key file")
}

fn is_locked_on_disk(daemon: &Daemon) -> bool {
    key_file(daemon).contains("LOCKED PRIVATE KEY")
}

fn await_lock(daemon: &Daemon, expect: bool) {
    wait_until(PATIENCE, "the lock on disk", || {
        (is_locked_on_disk(daemon) == expect).then_some(())
    });
}

/// Whether any file below the folder holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| match entry.path() {
        path if path.is_dir() => holds(&path, text),
        path => fs::read(path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())),
    })
}

fn autolocked(managers: usize) -> Cluster {
    let cluster = Cluster::start(managers);
    let address = cluster[0].host().address().to_string();
    let said = cluster[0].docker(&["swarm", "init", "--autolock", "--advertise-addr", &address]);
    assert!(said.ok().contains("SWMKEY-1-"));
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    for daemon in &cluster.daemons()[1..] {
        daemon.docker(&["swarm", "join", "--token", &token, &format!("{address}:2377")]).ok();
    }
    cluster
}

#[test]
fn a_locked_manager_waits_for_its_key_and_its_containers_go_on() {
    if !can_run() {
        return;
    }
    let mut cluster = autolocked(3);
    cluster.load(&busybox_image_tar(IMAGE));
    let create = ["service", "create", "--detach", "--replicas", "3", "--name", "web", IMAGE];
    cluster[0].docker(&[&create[..], &["sleep", "1000"]].concat()).ok();
    await_running(&cluster[0], "web", 3);
    let before = processes(&cluster[1]);
    let key = unlock_key(&cluster[0]);
    assert!(cluster.daemons().iter().all(is_locked_on_disk));
    assert_eq!(unlock_key(&cluster[2]), key);

    restart(&mut cluster[1]);
    let locked = &cluster[1];
    assert_eq!(state(locked), "locked");
    assert_eq!(locked.docker(&["ps", "--quiet"]).ok().lines().count(), 1);
    for command in [
        &["node", "ls"][..],
        &["service", "ls"],
        &["swarm", "unlock-key"],
        &["swarm", "update", "--autolock=false"],
        &["swarm", "join-token", "worker"],
    ] {
        assert!(locked.docker(command).refused().contains(LOCKED), "{command:?}");
    }
    assert!(locked.docker(&["swarm", "leave"]).refused().contains("encrypted and locked"));
    assert!(locked.docker(&["swarm", "init"]).refused().contains("already part of a swarm"));
    for (wrong, expect) in [
        ("", "invalid key string"),
        ("SWMKEY-1-short", "invalid key string"),
        (
            "SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8",
            "swarm could not be unlocked: invalid key provided",
        ),
    ] {
        assert!(unlock(locked, wrong).refused().contains(expect), "{wrong:?}");
        assert_eq!(state(locked), "locked");
    }
    let start = Instant::now();
    unlock(locked, &key).ok();
    println!("unlocked in {:?}", start.elapsed());
    assert_eq!(state(locked), "active");
    let own = ["node", "inspect", "self", "--format", "{{.ManagerStatus.Reachability}}"];
    await_output(locked, &own, |text| text == "reachable");
    assert!(unlock(locked, &key).refused().contains("swarm is not locked"));
    await_running(locked, "web", 3);
    assert_eq!(processes(locked), before, "no container was touched");
    // A killed one is locked as well.
    cluster[1].kill();
    cluster[1].restart();
    assert_eq!(state(&cluster[1]), "locked");
    unlock(&cluster[1], &key).ok();
    assert_eq!(state(&cluster[1]), "active");
}

#[test]
fn managers_follow_the_lock_s_rotation_and_its_end() {
    if !can_run() {
        return;
    }
    let mut cluster = autolocked(3);
    let first = unlock_key(&cluster[0]);
    let before: Vec<String> = cluster.daemons().iter().map(key_file).collect();
    let second = cluster[1].docker(&["swarm", "unlock-key", "--rotate", "--quiet"]).ok();
    assert_ne!(first, second);
    wait_until(PATIENCE, "all managers to follow", || {
        let after = cluster.daemons().iter().map(key_file);
        after.zip(&before).all(|(after, before)| after != *before).then_some(())
    });
    restart(&mut cluster[2]);
    assert!(unlock(&cluster[2], &first).refused().contains("invalid key provided"));
    unlock(&cluster[2], &second).ok();
    // A leader alone tells the key that the others need.
    restart(&mut cluster[1]);
    restart(&mut cluster[2]);
    assert_eq!(unlock_key(&cluster[0]), second);
    unlock(&cluster[1], &second).ok();
    unlock(&cluster[2], &second).ok();

    await_output(&cluster[0], &["swarm", "update", "--autolock=false"], |said| {
        said == "Swarm updated."
    });
    cluster.daemons().iter().for_each(|daemon| await_lock(daemon, false));
    assert_eq!(cluster[0].docker(&["swarm", "unlock-key"]).refused(), "no unlock key is set");
    restart(&mut cluster[1]);
    assert_eq!(state(&cluster[1]), "active");
    cluster[0].docker(&["swarm", "update", "--autolock=true"]).ok();
    cluster.daemons().iter().for_each(|daemon| await_lock(daemon, true));
    let third = unlock_key(&cluster[0]);
    assert!(third != first && third != second);
    // Who is a worker has nothing to lock, who becomes a manager again is locked from the first moment.
    // Its certificate is being renewed, which a change of the node may meet.
    await_output(&cluster[0], &["node", "demote", "node3"], |said| said.contains("demoted"));
    await_lock(&cluster[2], false);
    wait_until(PATIENCE, "the log to be forgotten", || {
        (!cluster[2].data_root().join("swarm/raft").exists()).then_some(())
    });
    restart(&mut cluster[2]);
    assert_eq!(state(&cluster[2]), "active");
    await_output(&cluster[0], &["node", "promote", "node3"], |said| said.contains("promoted"));
    await_lock(&cluster[2], true);
    let third_manager = ["node", "inspect", "node3", "--format", "{{.ManagerStatus.Reachability}}"];
    await_output(&cluster[0], &third_manager, |text| text == "reachable");
    restart(&mut cluster[2]);
    unlock(&cluster[2], &third).ok();
    assert_eq!(state(&cluster[2]), "active");
}

#[test]
fn the_key_is_rotated_while_leaders_are_killed() {
    if !can_run() {
        return;
    }
    let mut cluster = autolocked(3);
    let mut keys = vec![unlock_key(&cluster[0])];
    for victim in 0..2 {
        cluster[victim].kill();
        // Done whole or refused whole, with the reason.
        let said = cluster[2].docker(&["swarm", "unlock-key", "--rotate", "--quiet"]);
        assert!(said.success() || said.stderr.contains("does not have a leader"), "{said}");
        keys.extend(said.success().then_some(said.stdout));
        wait_until(PATIENCE, "another leader", || {
            cluster[2].docker(&["node", "ls"]).success().then_some(())
        });
        cluster[victim].restart();
        assert_eq!(state(&cluster[victim]), "locked");
        let mut known = keys.iter().rev();
        assert!(known.any(|key| unlock(&cluster[victim], key).success()), "one of the keys");
    }
    let newest = cluster[1].docker(&["swarm", "unlock-key", "--rotate", "--quiet"]).ok();
    let version = |daemon: &Daemon| {
        let file = key_file(daemon);
        let line = file.lines().find(|line| line.starts_with("kek-version"));
        line.filter(|_| !file.contains("raft-dek-pending")).map(str::to_owned)
    };
    let first = version(&cluster[0]);
    wait_until(PATIENCE, "all managers to follow", || {
        let versions: Vec<_> = cluster.daemons().iter().map(version).collect();
        let are_same = versions.iter().all(|found| found.is_some() && *found == versions[0]);
        (are_same && versions[0] != first).then_some(())
    });
    for number in 0..3 {
        restart(&mut cluster[number]);
        unlock(&cluster[number], &newest).ok();
    }
    assert_eq!(unlock_key(&cluster[2]), newest);
}

#[test]
fn nothing_secret_lies_open_on_a_manager_s_disk() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(2, 0);
    let secret = cluster.lab().folder().join("secret");
    fs::write(&secret, SECRET).expect("write the secret");
    let path = secret.to_str().expect("a plain path");
    cluster[0].docker(&["secret", "create", "password", path]).ok();
    let token = cluster[0].docker(&["swarm", "join-token", "--quiet", "manager"]).ok();
    let check = |cluster: &Cluster| {
        for daemon in cluster.daemons() {
            let folder = daemon.data_root().join("swarm");
            for text in [SECRET, &token, "password"] {
                assert!(!holds(&folder, text), "{text} in {}", folder.display());
            }
        }
    };
    check(&cluster);
    // Locking writes log and snapshot anew, under a key that is locked itself.
    cluster[0].docker(&["swarm", "update", "--autolock=true"]).ok();
    cluster.daemons().iter().for_each(|daemon| await_lock(daemon, true));
    for daemon in cluster.daemons() {
        wait_until(PATIENCE, "the log to be sealed anew", || {
            daemon.log().contains("the Raft log is sealed with a new key").then_some(())
        });
        assert!(!key_file(daemon).contains("raft-dek-pending"));
    }
    check(&cluster);
    let key = unlock_key(&cluster[0]);
    for number in 0..2 {
        cluster[number].kill();
    }
    for number in 0..2 {
        cluster[number].restart();
        assert_eq!(state(&cluster[number]), "locked");
        unlock(&cluster[number], &key).ok();
    }
    await_output(&cluster[1], &["secret", "ls", "--format", "{{.Name}}"], |text| {
        text == "password"
    });
}

#[test]
fn the_root_ca_is_rotated_while_services_run() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 1);
    cluster.load(&busybox_image_tar(IMAGE));
    let create = ["service", "create", "--detach", "--replicas", "4", "--name", "web", IMAGE];
    cluster[0].docker(&[&create[..], &["sleep", "1000"]].concat()).ok();
    await_running(&cluster[0], "web", 4);
    let before: Vec<_> = cluster.daemons().iter().map(processes).collect();
    let worker_token = || cluster[1].docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    let (old_root, old_token) = (cluster[1].docker(&["swarm", "ca"]).ok(), worker_token());

    let start = Instant::now();
    let said = cluster[1].docker(&["swarm", "ca", "--rotate"]).ok();
    println!("rotated in {:?}", start.elapsed());
    let new_root = cluster[2].docker(&["swarm", "ca"]).ok();
    assert!(said.ends_with(&new_root) && new_root != old_root);
    assert_ne!(worker_token(), old_token);
    for daemon in cluster.daemons() {
        let path = daemon.data_root().join("swarm/certificates/swarm-root-ca.crt");
        assert_eq!(fs::read_to_string(path).expect("the root").trim(), new_root);
    }
    let after: Vec<_> = cluster.daemons().iter().map(processes).collect();
    assert_eq!(before, after, "no container was touched");

    // Old tokens are good for nothing, new ones are; and everybody comes back.
    let late = Daemon::start(cluster.lab().host("late"), &[]);
    let remote = format!("{}:2377", cluster[0].host().address());
    let refusal = late.docker(&["swarm", "join", "--token", &old_token, &remote]).refused();
    assert!(refusal.contains("remote CA does not match fingerprint"), "{refusal}");
    late.docker(&["swarm", "join", "--token", &worker_token(), &remote]).ok();
    for number in 0..4 {
        restart(&mut cluster[number]);
    }
    await_output(&cluster[2], &["node", "ls", "--format", "{{.Status}}"], |text| {
        text.lines().count() == 5 && text.lines().all(|status| status == "Ready")
    });
    await_running(&cluster[1], "web", 4);
}

#[test]
fn a_rotation_waits_for_nodes_that_are_away_and_outlives_its_leader() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::swarm_of(3, 2);
    cluster[3].kill();
    cluster[4].kill();
    let old_root = cluster[1].docker(&["swarm", "ca"]).ok();
    cluster[0].docker(&["swarm", "ca", "--rotate", "--detach"]).ok();
    let in_progress = |daemon: &Daemon| {
        let format = "{{.Swarm.Cluster.RootRotationInProgress}}";
        daemon.docker(&["info", "--format", format]).ok() == "true"
    };
    assert!(in_progress(&cluster[1]));
    cluster[0].kill();
    wait_until(PATIENCE, "another leader", || {
        cluster[1].docker(&["node", "ls"]).success().then_some(())
    });
    assert!(in_progress(&cluster[1]));
    assert_eq!(cluster[1].docker(&["swarm", "ca"]).ok(), old_root);
    cluster[0].restart();
    cluster[3].restart();
    // Who never comes back is removed, and holds nobody up any more.
    await_output(
        &cluster[1],
        &["node", "inspect", "node5", "--format", "{{.Status.State}}"],
        |s| s == "down",
    );
    assert!(in_progress(&cluster[1]));
    cluster[1].docker(&["node", "rm", "node5"]).ok();
    wait_until(PATIENCE, "the rotation's end", || (!in_progress(&cluster[1])).then_some(()));
    await_output(&cluster[2], &["swarm", "ca"], |root| root != old_root);
    await_output(&cluster[2], &["node", "ls", "--format", "{{.Status}}"], |text| {
        text.lines().count() == 4 && text.lines().all(|status| status == "Ready")
    });
}

#[test]
fn a_stock_engine_survives_the_rotation_of_the_root_ca() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let cluster = Cluster::swarm_of(1, 1);
    let manager = &cluster[0];
    let mut stock = StockEngine::start(cluster.lab().host("stock"), &[]);
    let token = manager.docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    let remote = format!("{}:2377", manager.host().address());
    stock.docker(&["swarm", "join", "--token", &token, &remote]).ok();
    for _ in 0..2 {
        let start = Instant::now();
        let said = manager.docker(&["swarm", "ca", "--rotate"]).ok();
        println!("rotated with a stock engine in {:?}", start.elapsed());
        assert!(said.ends_with(&manager.docker(&["swarm", "ca"]).ok()));
        let ready = ["node", "inspect", "stock", "--format", "{{.Status.State}}"];
        await_output(manager, &ready, |text| text == "ready");
    }
    stock.stop();
    await_output(manager, &["node", "inspect", "stock", "--format", "{{.Status.State}}"], |text| {
        text == "down"
    });
    stock.restart();
    await_output(manager, &["node", "inspect", "stock", "--format", "{{.Status.State}}"], |text| {
        text == "ready"
    });
}

#[test]
fn bad_certificates_and_keys_change_nothing() {
    if !(can_run() && require_command("openssl")) {
        return;
    }
    let cluster = Cluster::swarm_of(2, 0);
    let manager = &cluster[1];
    let root = manager.docker(&["swarm", "ca"]).ok();
    let file = |name: &str| cluster.lab().folder().join(name).to_str().expect("plain").to_owned();
    let certificate = |name: &str, days: &str| {
        let (key, cert) = (file(&format!("{name}.key")), file(&format!("{name}.crt")));
        let mut command = std::process::Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-nodes", "-subj", "/CN=mine", "-days", days]);
        command.args(["-keyout", &key, "-out", &cert]);
        assert!(command.output().expect("openssl").status.success());
        (cert, key)
    };
    let (mine, my_key) = certificate("mine", "3650");
    let (short, short_key) = certificate("short", "30");
    let ca = ["swarm", "ca", "--rotate", "--quiet"];
    for (flags, expect) in [
        (vec!["--ca-cert", &mine, "--ca-key", &short_key], "certificate key mismatch"),
        (vec!["--ca-cert", &short, "--ca-key", &short_key], "CA certificate expires too soon"),
        (vec!["--ca-cert", &mine, "--ca-key", &mine], "malformed private key"),
        (vec!["--ca-cert", &my_key, "--ca-key", &my_key], "no valid root CA certificates found"),
        (vec!["--cert-expiry", "59m"], "minimum certificate expiry time is: 1h0m0s"),
        (
            vec!["--ca-cert", &mine, "--external-ca", "protocol=cfssl,url=https://127.0.0.1:1/"],
            "there must be at least one valid, reachable external CA corresponding to the desired CA certificate",
        ),
        (
            vec!["--ca-cert", &mine, "--external-ca", "protocol=cfssl,url=http://127.0.0.1:1/"],
            "invalid external CA URL",
        ),
    ] {
        let refusal = manager.docker(&[&ca[..], &flags].concat()).refused();
        assert!(refusal.contains(expect), "{flags:?}: {refusal}");
        assert_eq!(manager.docker(&["swarm", "ca"]).ok(), root);
    }
    let in_progress = "{{.Swarm.Cluster.RootRotationInProgress}}";
    assert_eq!(manager.docker(&["info", "--format", in_progress]).ok(), "false");
    // Files of one's own that are in order become the root.
    manager.docker(&[&ca[..], &["--ca-cert", &mine, "--ca-key", &my_key]].concat()).ok();
    let own = fs::read_to_string(&mine).expect("read");
    assert_eq!(cluster[0].docker(&["swarm", "ca"]).ok(), own.trim());
    let refusal = manager.docker(&["swarm", "update", "--cert-expiry", "30m"]).refused();
    assert!(refusal.contains("minimum certificate expiry time is: 1h0m0s"));
    manager.docker(&["swarm", "update", "--cert-expiry", "1h"]).ok();
    let expiry = "{{.Swarm.Cluster.Spec.CAConfig.NodeCertExpiry}}";
    assert_eq!(manager.docker(&["info", "--format", expiry]).ok(), "1h0m0s");
}

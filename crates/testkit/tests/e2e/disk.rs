//! A manager whose disk is full: nothing acknowledged is lost, the cause is named, and it goes on once there is room.

use std::path::Path;

use swarm_testkit::{Cluster, Daemon, Engine, wait_until};

use crate::support::{PATIENCE, can_run, file};

/// Enough for some segments of the log.
const DISK: &str = "size=40m";

fn run(daemon: &Daemon, words: &[&str]) {
    let done = daemon.host().command(words[0]).args(&words[1..]).output().expect("run a command");
    assert!(done.status.success(), "{words:?}: {done:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn a_full_disk_stops_a_manager_until_there_is_room() {
    if !can_run() {
        return;
    }
    let mut cluster = Cluster::start(1);
    let manager = &cluster[0];
    let folder = manager.data_root().join("swarm");
    run(manager, &["mkdir", "-p", text(&folder)]);
    run(manager, &["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", text(&folder)]);
    manager.docker(&["swarm", "init", "--advertise-addr", "10.77.0.1"]).ok();
    let filler = folder.join("filler");
    // All that is left; the last write fails, and that is the point.
    let fill = format!("cat /dev/zero > {}", text(&filler));
    let _ = manager.host().command("sh").args(["-c", &fill]).output();

    let large = file(&cluster, "large", &[b'x'; 450_000]);
    let mut kept = Vec::new();
    let said = wait_until(PATIENCE, "the disk to be full", || {
        let name = format!("c{}", kept.len());
        let output = manager.docker(&["config", "create", &name, text(&large)]);
        if output.success() {
            kept.push(name);
            return None;
        }
        Some(output.stderr)
    });
    assert!(!kept.is_empty(), "{said}");
    let why = wait_until(PATIENCE, "the cause to be named", || {
        let output = manager.docker(&["node", "ls"]);
        assert!(!output.success());
        output.stderr.contains("The manager of this node has stopped").then_some(output.stderr)
    });
    for part in [text(&folder), "No space left on device", "starts again by itself"] {
        assert!(why.contains(part), "{why}");
    }
    let told = manager.docker(&["info", "--format", "{{.Swarm.Error}}"]).ok();
    assert!(told.contains("No space left on device"), "{told}");

    // Neither does a new daemon find room.
    assert_eq!(cluster[0].stop(), 0);
    cluster[0].restart();
    let manager = &cluster[0];
    let why = manager.docker(&["node", "ls"]).refused();
    for part in ["could not start", "No space left on device", "tried again by itself"] {
        assert!(why.contains(part), "{why}");
    }

    run(manager, &["rm", text(&filler)]);
    let mut listed = wait_until(PATIENCE, "the manager to be back", || {
        let output = manager.docker(&["config", "ls", "--format", "{{.Name}}"]);
        output.success().then(|| output.stdout.lines().map(str::to_owned).collect::<Vec<_>>())
    });
    listed.sort();
    kept.sort();
    assert_eq!(listed, kept, "what was acknowledged is there, and nothing else");
}

//! A standalone manager in front of our own daemons, as far as they have what it asks for.

use swarm_testkit::{Daemon, Engine, Lab, busybox_image_tar};

use crate::standalone::Manager;
use crate::support::{IMAGE, can_run};

#[test]
fn our_own_daemons_are_engines_too() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let daemons = ["node1", "node2"].map(|name| {
        let host = lab.host(name);
        let listen = format!("--host=tcp://{}:2375", host.address());
        Daemon::start(host, &[&listen])
    });
    let list = daemons.each_ref().map(|daemon| format!("{}:2375", daemon.host().address()));
    let manager = Manager::start(lab.host("manager"), &[], &list.join(","));
    manager.await_status(&["Healthy"; 2]);
    let tar = lab.folder().join("image.tar");
    std::fs::write(&tar, busybox_image_tar(IMAGE)).expect("write the image");
    let tar = tar.display().to_string();
    // What is asked, and what is in the answer.
    for (line, expect) in [
        (format!("load --input {tar}"), "node2: Loaded image: alpine:latest"),
        ("run --detach --name one --memory 20m alpine sleep 1000".into(), ""),
        ("run --detach --name two --env affinity:container!=one alpine sleep 1000".into(), ""),
        (
            "run --detach --name three --env constraint:node==node2 -p 8080:80 alpine echo x"
                .into(),
            "",
        ),
        (
            "ps --all --filter node=node2 --filter name=three --format {{.Names}}".into(),
            "node2/three",
        ),
        ("wait three".into(), "0"),
        ("logs three".into(), "x"),
        ("inspect --format {{.Node.Name}} three".into(), "node2"),
        ("rename one uno".into(), ""),
        ("restart --time 0 uno".into(), "uno"),
        ("kill uno".into(), "uno"),
        ("rm --force uno".into(), "uno"),
        ("run --rm alpine echo through".into(), "through"),
        ("tag alpine other:1".into(), ""),
        ("images --format {{.Repository}}:{{.Tag}}".into(), "other:1"),
        ("history alpine".into(), "busybox"),
        (format!("import {tar} flat:1"), "node1: sha256:"),
        ("rmi other:1".into(), "Untagged: other:1"),
        ("volume create node1/own".into(), "own"),
        ("volume ls --quiet".into(), "node1/own"),
        ("volume inspect --format {{.Driver}} node1/own".into(), "local"),
        ("volume rm node1/own".into(), "own"),
        ("network ls --filter node=node1 --format {{.Name}}".into(), "node1/bridge"),
        // The command line asks for whole seconds, rounded down.
        (
            "events --since 1h --until=-1s --filter event=start --filter container=two".into(),
            "node.name",
        ),
        ("info --format {{.Images}}".into(), "4"),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = manager.docker(&words).ok();
        assert!(said.contains(expect), "{line}: {said}");
    }
    assert_ne!(manager.node_of("two"), "");
    // What they have not got is said in their words, and they are no worse for it.
    for line in ["exec two true", "top two", "commit two snap", "pause two"] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = manager.docker(&words).refused();
        assert!(said.contains("is not supported by this daemon"), "{line}: {said}");
    }
    manager.await_status(&["Healthy"; 2]);
}

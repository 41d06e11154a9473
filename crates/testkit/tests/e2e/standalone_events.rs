//! Events of all engines as one stream: nothing is missed and nothing comes twice, whenever somebody begins to listen.

use std::collections::BTreeMap;
use std::fs::{File, read_to_string};
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};

use swarm_testkit::{Engine, Lab, require_command, wait_until};

use crate::standalone::{Manager, engines};
use crate::support::{IMAGE, PATIENCE, can_run};

const FORMAT: &str =
    "{{.Action}} {{.Actor.Attributes.name}} {{index .Actor.Attributes \"node.name\"}}";

/// `docker events` that ends with the test.
struct Listener(Child);

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen(manager: &Manager, since: &str, file: &std::path::Path) -> Listener {
    let mut command = Command::new("docker");
    command.env("DOCKER_CONFIG", manager.host().folder().join("docker-config"));
    command.arg("--host").arg(format!("unix://{}", manager.socket().display()));
    command.args(["events", "--since", since, "--format", FORMAT]);
    command.args(["--filter", "type=container", "--filter", "event=create"]);
    let child = command.stdout(File::create(file).expect("a file")).spawn();
    Listener(child.expect("start docker"))
}

/// How often each line is there.
fn counted(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        *lines.entry(line.to_owned()).or_default() += 1;
    }
    lines
}

#[test]
fn events_of_all_engines_come_once_whenever_one_begins_to_listen() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let lab = Lab::new();
    let (engines, list) = engines(&lab, 2);
    let manager = Manager::start(lab.host("manager"), &[], &list);
    manager.await_status(&["Healthy"; 2]);
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let begin = begin.to_string();
    let create = |manager: &Manager, name: &str, node: &str| {
        let constraint = format!("constraint:node=={node}");
        manager.docker(&["create", "--name", name, "--env", &constraint, IMAGE]).ok();
    };
    let mut expect = BTreeMap::new();
    let mut make = |manager: &Manager, names: &[&str]| {
        for (at, name) in names.iter().enumerate() {
            let node = format!("node{}", at % 2 + 1);
            create(manager, name, &node);
            expect.insert(format!("create {name} {node}"), 1);
        }
        expect.clone()
    };
    make(&manager, &["a1", "b1", "c1"]);
    let file = lab.folder().join("listened");
    let listener = listen(&manager, &begin, &file);
    let all = make(&manager, &["d1", "e1", "f1", "g1"]);
    wait_until(PATIENCE, "all events", || {
        (counted(&read_to_string(&file).unwrap_or_default()) == all).then_some(())
    });
    drop(listener);

    // A manager that was not there then knows by the engines; what was made meanwhile, too.
    let create_alone = |name: &str| {
        engines[0].docker(&["create", "--name", name, IMAGE]).ok();
        create(&manager, "i1", "node2");
    };
    create_alone("h1");
    let other = Manager::start(lab.host("other"), &[], &list);
    other.await_status(&["Healthy"; 2]);
    let file = lab.folder().join("later");
    let _listener = listen(&other, &begin, &file);
    let mut all = make(&other, &["j1", "k1"]);
    all.extend([("create h1 node1".to_owned(), 1), ("create i1 node2".to_owned(), 1)]);
    wait_until(PATIENCE, "all events of another manager", || {
        (counted(&read_to_string(&file).unwrap_or_default()) == all).then_some(())
    });

    // Filters, and an end in the past.
    let asked = |flags: &[&str]| {
        let flags = [&["events", "--since", &begin, "--until", "0s", "--format", FORMAT], flags];
        manager.docker(&flags.concat()).ok()
    };
    // An end is cut down to a second by the command line.
    wait_until(PATIENCE, "the events of all containers", || {
        let told = asked(&["--filter", "event=create", "--filter", "image=alpine"]);
        (told.lines().count() == 11).then_some(())
    });
    assert_eq!(asked(&["--filter", "container=d1", "--filter", "node=node1"]), "create d1 node1");
    assert_eq!(asked(&["--filter", "container=d1", "--filter", "node=node2"]), "");
    let past = manager.docker(&["events", "--until", &begin]).ok();
    assert_eq!(past, "");
    let wrong = manager.docker(&["events", "--filter", "label", "--until", "x"]).refused();
    assert!(!wrong.is_empty());
}

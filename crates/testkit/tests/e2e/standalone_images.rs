//! Images through a standalone manager: what all engines take, what one of them makes, and what is asked of any.

use std::path::Path;
use std::process::Command;

use swarm_testkit::{Engine, Lab, Output, busybox_image_tar, require_command};

use crate::registry::Registry;
use crate::standalone::{Manager, empty_engines};
use crate::support::{IMAGE, can_run};

const DOCKERFILE: &str = "FROM alpine:latest\nARG WORD\nRUN echo $WORD > /word\nCMD cat /word\n";

/// The nodes that have an image.
fn nodes_with(engines: &[impl Engine], image: &str) -> Vec<String> {
    let has = |engine: &&_| {
        let listed = Engine::docker(*engine, &["images", "--quiet", image]);
        !listed.ok().is_empty()
    };
    engines.iter().filter(has).map(|engine| engine.host().name().to_owned()).collect()
}

/// `docker build` with the builder that needs no plugin.
fn build(manager: &Manager, folder: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.env("DOCKER_BUILDKIT", "0").env("DOCKER_CONFIG", folder.join("docker-config"));
    command.arg("--host").arg(format!("unix://{}", manager.socket().display()));
    Output::of(command.arg("build").args(flags).arg(folder))
}

#[test]
fn images_go_to_all_engines_and_are_made_on_one() {
    if !(can_run() && require_command("dockerd") && require_command("docker-registry")) {
        return;
    }
    let lab = Lab::new();
    let (engines, list) = empty_engines(&lab, 2, &["--insecure-registry", "10.77.0.0/16"]);
    let manager = Manager::start(lab.host("manager"), &[], &list);
    manager.await_status(&["Healthy"; 2]);

    // What is loaded is everywhere, and at once good for a container.
    let said = manager.docker(&["load", "--input", "/nowhere"]);
    assert!(!said.success());
    let path = lab.folder().join("image.tar");
    std::fs::write(&path, busybox_image_tar(IMAGE)).expect("write the image");
    let said = manager.docker(&["load", "--input", &path.display().to_string()]).ok();
    for node in ["node1", "node2"] {
        assert!(said.contains(&format!("{node}: Loaded image: {IMAGE}")), "{said}");
    }
    assert_eq!(nodes_with(&engines, IMAGE), ["node1", "node2"]);
    manager.run(&["--name", "loaded"]).ok();
    let rubbish = manager.docker_given(&["load"], "no archive").refused();
    assert!(rubbish.contains("unexpected EOF"), "{rubbish}");

    builds(&lab, &manager, &engines);
    archives(&lab, &manager, &engines);
    pushes_and_pulls(&manager, &engines);
}

fn builds(lab: &Lab, manager: &Manager, engines: &[impl Engine]) {
    let folder = lab.folder().join("context");
    std::fs::create_dir_all(&folder).expect("make a folder");
    std::fs::write(folder.join("Dockerfile"), DOCKERFILE).expect("write");
    let on = |node: &str| format!("constraint:node=={node}");
    let flags =
        ["--build-arg", &on("node2"), "--build-arg", "WORD=good day", "--tag", "team/built:v1"];
    let said = build(manager, &folder, &flags).ok();
    for line in ["node2: Step 1/4 : FROM alpine:latest", "node2: Successfully tagged team/built:v1"]
    {
        assert!(said.lines().any(|own| own == line), "{said}");
    }
    assert_eq!(nodes_with(engines, "team/built"), ["node2"]);
    assert_eq!(manager.docker(&["run", "--rm", "team/built:v1"]).ok(), "good day");
    let quiet = build(manager, &folder, &["--quiet", "--build-arg", &on("node1")]).ok();
    assert!(quiet.starts_with("sha256:") && quiet.lines().count() == 1, "{quiet}");

    let refused = build(manager, &folder, &["--build-arg", &on("node9")]).refused();
    assert!(refused.contains("Unable to find a node that satisfies"), "{refused}");
    assert!(refused.contains("[node==node9]"), "{refused}");
    std::fs::write(folder.join("Dockerfile"), "FROM alpine:latest\nRUN exit 7\n").expect("write");
    let failed = build(manager, &folder, &["--tag", "failed"]);
    assert_eq!(failed.status, 7, "{failed}");
    assert!(failed.stderr.contains("returned a non-zero code: 7"), "{failed}");
}

fn archives(lab: &Lab, manager: &Manager, engines: &[impl Engine]) {
    let saved = lab.folder().join("saved.tar").display().to_string();
    manager.docker(&["save", "--output", &saved, IMAGE, "team/built:v1"]).ok();
    manager.docker(&["rmi", "team/built:v1"]).ok();
    assert!(nodes_with(engines, "team/built").is_empty());
    manager.docker(&["load", "--quiet", "--input", &saved]).ok();
    assert_eq!(nodes_with(engines, "team/built"), ["node1", "node2"]);

    manager.docker(&["create", "--name", "from", "--env", "constraint:node==node1", IMAGE]).ok();
    let id = manager.docker(&["commit", "--message", "more", "from", "snap:1"]).ok();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(nodes_with(engines, "snap:1"), ["node1"]);
    assert_eq!(manager.docker(&["run", "--rm", "snap:1", "hostname"]).ok().len(), 12);
    let absent = manager.docker(&["commit", "nobody"]).refused();
    assert!(absent.contains("No such container: nobody"), "{absent}");

    let exported = lab.folder().join("exported.tar").display().to_string();
    manager.docker(&["export", "--output", &exported, "from"]).ok();
    manager.docker(&["import", "--change", "CMD echo imported", &exported, "flat:1"]).ok();
    assert_eq!(nodes_with(engines, "flat:1"), ["node1", "node2"]);
    assert_eq!(manager.docker(&["run", "--rm", "flat:1"]).ok(), "imported");

    // No engine has both.
    engines[0].docker(&["tag", IMAGE, "only:1"]).ok();
    engines[1].docker(&["tag", IMAGE, "other:1"]).ok();
    let spread = manager.docker(&["save", "--output", &saved, "only:1", "other:1"]).refused();
    let expect = "Unable to find a healthy engine containing all images: [only:1 other:1]";
    assert!(spread.contains(expect), "{spread}");
}

fn pushes_and_pulls(manager: &Manager, engines: &[impl Engine]) {
    let host = manager.host();
    let _registry = Registry::start(host, 5000, None);
    let name = format!("{}:5000/team/built:v1", host.address());
    manager.docker(&["tag", "team/built:v1", &name]).ok();
    let said = manager.docker(&["push", &name]).ok();
    assert!(said.contains("v1: digest: sha256:"), "{said}");
    manager.docker(&["rmi", &name]).ok();
    assert!(nodes_with(engines, &name).is_empty());
    let said = manager.docker(&["pull", &name]).ok();
    assert!(said.contains(&format!("node2: Pulling {name}... : ")), "{said}");
    assert_eq!(nodes_with(engines, &name), ["node1", "node2"]);

    let absent = format!("{}:5000/team/nothing:v1", host.address());
    let refused = manager.docker(&["pull", &absent]).refused();
    assert!(refused.contains("manifest unknown") || refused.contains("not found"), "{refused}");
    let refused = manager.docker(&["push", &absent]).refused();
    assert!(refused.contains(&format!("No such image: {absent}")), "{refused}");
    let refused = manager.docker(&["run", &absent]).refused();
    assert!(refused.contains("manifest unknown") || refused.contains("not found"), "{refused}");
}

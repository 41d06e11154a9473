//! The embedded engine behind the stock CLI: images, containers, volumes, and bad input that leaves nothing behind.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use swarm_testkit::{Daemon, Engine, busybox_image_tar};

use crate::support::{IMAGE, await_output, can_run, file, request, single};

#[test]
fn images_are_loaded_tagged_imported_and_removed() {
    if !can_run() {
        return;
    }
    let cluster = single();
    let engine = &cluster[0];
    let again = file(&cluster, "again.tar", &busybox_image_tar("again:1"));
    let said = engine.docker(&["load", "--input", again.to_str().expect("a path")]).ok();
    assert_eq!(said, "Loaded image: again:1");
    let id = |name: &str| engine.docker(&["inspect", "--format", "{{.Id}}", name]).ok();
    assert!(id(IMAGE).starts_with("sha256:") && id(IMAGE).len() == 71);
    assert_eq!(id("again:1"), id("alpine"), "the same content is the same image");
    engine.docker(&["tag", "alpine", "registry.example/team/app:v1"]).ok();
    let names = engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["again:1", IMAGE, "registry.example/team/app:v1"]);
    let untagged = engine.docker(&["rmi", "again:1"]).ok();
    assert_eq!(untagged, "Untagged: again:1");
    import(engine, cluster.lab().folder().join("rootfs.tar").to_str().expect("a path"));
    truncated(&cluster);

    engine.docker(&["create", "--name", "user", "alpine", "true"]).ok();
    let said = engine.docker(&["rmi", "alpine", "registry.example/team/app:v1"]).refused();
    assert!(said.contains("conflict: unable to remove repository reference"), "{said}");
    engine.docker(&["rm", "user"]).ok();
    let said = engine.docker(&["rmi", "-f", "alpine", "registry.example/team/app:v1"]);
    assert!(format!("{said}").contains("Deleted: sha256:"), "{said}");
    assert_eq!(engine.docker(&["images", "--quiet"]).ok(), "");
    assert!(engine.docker(&["rmi", "alpine"]).refused().contains("No such image: alpine:latest"));
}

fn import(engine: &Daemon, rootfs: &str) {
    engine.docker(&["create", "--name", "source", "alpine", "true"]).ok();
    let mut archive = tar::Builder::new(std::fs::File::create(rootfs).expect("create"));
    archive.append_path_with_name("/bin/busybox", "bin/sh").expect("append");
    archive.finish().expect("finish");
    let id = engine
        .docker(&["import", "--change", "CMD [\"sh\", \"-c\", \"exit 7\"]", rootfs, "imported:1"])
        .ok();
    assert!(id.starts_with("sha256:"), "{id}");
    engine.docker(&["run", "--detach", "--name", "imported", "imported:1"]).ok();
    assert_eq!(engine.docker(&["wait", "imported"]).ok(), "7");
    engine.docker(&["rm", "imported", "source"]).ok();
    engine.docker(&["rmi", "imported:1"]).ok();
}

/// Half an archive is refused and leaves nothing.
fn truncated(cluster: &swarm_testkit::Cluster) {
    let engine = &cluster[0];
    let before = engine.docker(&["images", "--all", "--quiet", "--no-trunc"]).ok();
    let mut archive = busybox_image_tar("half:1");
    archive.truncate(archive.len() / 2);
    for (name, content) in [("half.tar", &archive[..]), ("noise.tar", b"this is no archive")] {
        let path = file(cluster, name, content);
        engine.docker(&["load", "--input", path.to_str().expect("a path")]).refused();
    }
    assert_eq!(engine.docker(&["images", "--all", "--quiet", "--no-trunc"]).ok(), before);
    let said = engine.docker(&["inspect", "half:1"]).refused();
    assert!(said.contains("No such object: half:1"), "{said}");
}

#[test]
fn containers_run_log_fail_and_clash_as_with_docker() {
    if !can_run() {
        return;
    }
    let cluster = single();
    let engine = &cluster[0];
    let run = [
        "run",
        "--detach",
        "--name",
        "one",
        "--env",
        "WHO=world",
        "--workdir",
        "/tmp",
        "--hostname",
        "box",
    ];
    let script = "echo hello $WHO; pwd; hostname; echo trouble >&2; exit 3";
    engine.docker(&[&run[..], &["--label", "tier=web", IMAGE, "sh", "-c", script]].concat()).ok();
    assert_eq!(engine.docker(&["wait", "one"]).ok(), "3");
    let logs = engine.docker(&["logs", "one"]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("hello world\n/tmp\nbox", "trouble"));
    let columns = "{{.Image}} {{.Names}} {{.Status}}";
    let all = ["ps", "--all", "--filter", "label=tier=web", "--format", columns];
    let status = engine.docker(&all).ok();
    assert!(status.starts_with("alpine:latest one Exited (3) "), "{status}");
    assert_eq!(engine.docker(&["start", "one"]).ok(), "one");
    await_output(engine, &["logs", "one"], |text| text.matches("hello world").count() == 2);

    let long = engine.docker(&["run", "--detach", "--name", "long", IMAGE, "sleep", "1000"]).ok();
    assert_eq!(engine.docker(&["inspect", "--format", "{{.Name}}", &long[..6]]).ok(), "/long");
    let said = engine.docker(&["rm", "long"]).refused();
    assert!(
        said.contains("container is running: stop the container before removing or force remove"),
        "{said}"
    );
    engine.docker(&["kill", "long"]).ok();
    assert_eq!(engine.docker(&["wait", "long"]).ok(), "137");
    engine.docker(&["rm", "one", "long"]).ok();
    // Gone the moment after it has said so.
    for _ in 0..10 {
        assert_eq!(engine.docker(&["run", "--rm", IMAGE, "echo", "short"]).ok(), "short");
    }
    assert_eq!(engine.docker(&["ps", "--all", "--quiet"]).ok(), "");
    refusals(engine);
    ports(engine);
    volumes(engine);
}

fn refusals(engine: &Daemon) {
    let refused = |arguments: &[&str], reason: &str| {
        let said = engine.docker(arguments).refused();
        assert!(said.contains(reason), "docker {arguments:?}: {said}");
    };
    refused(&["create", "--pull", "never", "absent:1"], "No such image: absent:1");
    refused(
        &["run", "--detach", "--name", "lacks", IMAGE, "no-such-command"],
        "executable file not found in $PATH",
    );
    let exit = engine.docker(&["run", "--detach", IMAGE, "no-such-command"]);
    assert_eq!(exit.status, 127, "{exit}");
    refused(
        &["create", "--name", "lacks", IMAGE],
        "The container name \"/lacks\" is already in use by container",
    );
    refused(
        &["create", "--name", "böse!", IMAGE],
        "Invalid container name (böse!), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
    );
    let exit = engine.docker(&["run", "--rm", "--name", "gone", IMAGE, "/no/such/command"]);
    assert_eq!(exit.status, 127, "{exit}");
    refused(&["inspect", "gone"], "No such object: gone");
    refused(
        &["create", "--oom-score-adj", "5000", IMAGE],
        "Invalid value 5000, range for oom score adj is [-1000, 1000]",
    );
    refused(&["create", "--cpuset-cpus", "5000", IMAGE], "Requested CPUs are not available");
    refused(&["start", "nobody"], "No such container: nobody");
    refused(&["volume", "create", "no/way"], "includes invalid characters for a local volume name");
    let containers = engine.docker(&["ps", "--all", "--quiet"]).ok();
    let containers: Vec<&str> = containers.lines().collect();
    engine.docker(&[&["rm", "--force"][..], &containers].concat()).ok();
}

fn ports(engine: &Daemon) {
    let run = ["run", "--detach", "--publish", "8080:80"];
    engine.docker(&[&run[..], &["--name", "first", IMAGE, "sleep", "1000"]].concat()).ok();
    assert_eq!(engine.docker(&["port", "first", "80"]).ok().lines().next(), Some("0.0.0.0:8080"));
    let said = engine.docker(&[&run[..], &["--name", "second", IMAGE, "sleep", "1000"]].concat());
    let said = said.refused();
    assert!(
        said.contains("port is already allocated") || said.contains("address already in use"),
        "{said}"
    );
    engine.docker(&["rm", "--force", "first", "second"]).ok();
}

fn volumes(engine: &Daemon) {
    assert_eq!(engine.docker(&["volume", "create", "data"]).ok(), "data");
    let run = |script: &str| {
        let mount = ["run", "--detach", "--volume", "data:/data", IMAGE, "sh", "-c", script];
        let id = engine.docker(&mount).ok();
        let status = engine.docker(&["wait", &id]).ok();
        (id.clone(), status, engine.docker(&["logs", &id]).ok())
    };
    let (writer, status, _) = run("echo kept > /data/file");
    assert_eq!(status, "0");
    let (reader, _, text) = run("cat /data/file");
    assert_eq!(text, "kept");
    assert!(engine.docker(&["volume", "rm", "data"]).refused().contains("volume is in use"));
    engine.docker(&["rm", &writer, &reader]).ok();
    assert_eq!(engine.docker(&["volume", "rm", "data"]).ok(), "data");
    assert!(engine.docker(&["volume", "inspect", "data"]).refused().contains("no such volume"));
}

#[test]
fn bodies_that_make_no_sense_are_refused() {
    if !can_run() {
        return;
    }
    let cluster = single();
    let engine = &cluster[0];
    let create = "/v1.43/containers/create";
    for (body, status) in [
        (&b"{\"Image\": \"alpine\""[..], 400),
        (b"not json", 400),
        (b"{\"Image\": 7}", 400),
        (b"[]", 400),
        (b"{\"Image\": \"alpine\"} trailing", 400),
        (b"", 400),
    ] {
        let (code, answer) = request(engine, "POST", create, body);
        let text = String::from_utf8_lossy(body);
        assert_eq!(code, status, "{text}: {answer}");
        assert!(
            answer["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{text}: {answer}"
        );
    }
    assert_eq!(request(engine, "GET", "/v1.43/nothing/here", b"").0, 404);
    assert_eq!(request(engine, "GET", "/v1.10/version", b"").0, 400);
    let (status, message) = endless(engine, create);
    assert!(status == 413 || status == 400, "{status}: {message}");
    assert_eq!(engine.docker(&["ps", "--all", "--quiet"]).ok(), "", "nothing was created");
}

/// Sends up to 100 MB of JSON, for as long as the daemon reads it.
fn endless(engine: &Daemon, path: &str) -> (u16, String) {
    const SIZE: usize = 100 << 20;
    let mut stream = UnixStream::connect(engine.socket()).expect("connect");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n{{\"Image\": \""
    );
    stream.write_all(head.as_bytes()).expect("send a head");
    let chunk = vec![b'a'; 1 << 20];
    for _ in 0..100 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    (status, answer)
}

//! Images from a real registry: pull, pull with a password, and the digest that a service keeps.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use swarm_testkit::{Daemon, Engine, Host, Lab, busybox_image_tar, require_command, wait_until};

use crate::support::{IMAGE, PATIENCE, await_output, await_running, can_run};

/// `user` with the password `secret`.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
const BASIC: &str = "dXNlcjpzZWNyZXQ=";

#[test]
fn images_are_pulled_and_services_keep_their_digest() {
    if !(can_run() && require_command("docker-registry")) {
        return;
    }
    let lab = Lab::new();
    let flags = ["--insecure-registry", "10.77.0.1:5000", "--insecure-registry", "10.77.0.1:5001"];
    let manager = Daemon::start(lab.host("node1"), &flags);
    let worker = Daemon::start(lab.host("node2"), &flags);
    let open = Registry::start(manager.host(), 5000, None);
    let closed = Registry::start(manager.host(), 5001, Some(HTPASSWD));
    let first = open.push("team/app", "v1", "first");
    closed.push("team/secret", "v1", "secret");

    pull(&manager, &first);
    pull_with_password(&manager);
    join(&manager, &worker);
    keep_digest(&manager, &worker, &open, &first);
    hand_password_on(&manager, &worker);
}

fn pull(engine: &Daemon, digest: &str) {
    let said = engine.docker(&["pull", "127.0.0.1:5000/team/app:v1"]).ok();
    assert!(said.contains("v1: Pulling from team/app"), "{said}");
    assert!(said.contains(&format!("Digest: {digest}")), "{said}");
    assert!(
        said.contains("Status: Downloaded newer image for 127.0.0.1:5000/team/app:v1"),
        "{said}"
    );
    let again = engine.docker(&["pull", "127.0.0.1:5000/team/app:v1"]).ok();
    assert!(
        again.contains("Status: Image is up to date for 127.0.0.1:5000/team/app:v1"),
        "{again}"
    );
    engine.docker(&["run", "--detach", "--name", "app", "127.0.0.1:5000/team/app:v1"]).ok();
    assert_eq!(engine.docker(&["wait", "app"]).ok(), "0");
    assert_eq!(engine.docker(&["logs", "app"]).ok(), "first");
    engine.docker(&["rm", "app"]).ok();
    let absent = engine.docker(&["pull", "127.0.0.1:5000/team/app:v9"]).refused();
    assert!(absent.contains("manifest unknown") || absent.contains("not found"), "{absent}");
}

fn pull_with_password(engine: &Daemon) {
    let secret = "127.0.0.1:5001/team/secret:v1";
    let said = engine.docker(&["pull", secret]).refused();
    assert!(said.contains("no basic auth credentials"), "{said}");
    let folder = engine.host().folder().join("docker-config");
    let entry = json!({ "auth": BASIC });
    let config = json!({ "auths": { "127.0.0.1:5001": entry, "10.77.0.1:5001": entry } });
    std::fs::create_dir_all(&folder).expect("make the CLI's folder");
    std::fs::write(folder.join("config.json"), config.to_string()).expect("log the CLI in");
    let said = engine.docker(&["pull", secret]).ok();
    assert!(said.contains(&format!("Downloaded newer image for {secret}")), "{said}");
}

fn join(manager: &Daemon, worker: &Daemon) {
    manager.docker(&["swarm", "init", "--advertise-addr", "10.77.0.1"]).ok();
    let token = manager.docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    worker.docker(&["swarm", "join", "--token", &token, "10.77.0.1:2377"]).ok();
}

/// A service is pinned to what its tag meant when it was created, until it is updated.
fn keep_digest(manager: &Daemon, worker: &Daemon, registry: &Registry, first: &str) {
    let tag = "10.77.0.1:5000/team/app:v1";
    let create = ["service", "create", "--detach", "--name", "app", "--stop-grace-period", "1s"];
    manager.docker(&[&create[..], &[tag, "sleep", "1000"]].concat()).ok();
    await_running(manager, "app", 1);
    let image =
        ["service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "app"];
    assert_eq!(manager.docker(&image).ok(), format!("{tag}@{first}"));
    let second = registry.push("team/app", "v1", "second");
    assert_ne!(first, second);
    manager.docker(&["service", "scale", "--detach", "app=2"]).ok();
    await_running(manager, "app", 2);
    assert_eq!(manager.docker(&image).ok(), format!("{tag}@{first}"));
    let id = await_output(worker, &["ps", "--quiet"], |ids| ids.lines().count() == 1);
    let own = worker.docker(&["inspect", "--format", "{{.Config.Image}}", &id]).ok();
    assert_eq!(own, format!("{tag}@{first}"), "what the tag means now is of no matter");
    manager.docker(&["service", "update", "--detach", "--image", tag, "app"]).ok();
    assert_eq!(manager.docker(&image).ok(), format!("{tag}@{second}"));
    await_running(manager, "app", 2);
    manager.docker(&["service", "rm", "app"]).ok();
}

/// The worker has no password of its own: it comes with the task.
fn hand_password_on(manager: &Daemon, worker: &Daemon) {
    let flags = ["--with-registry-auth", "--constraint", "node.hostname==node2"];
    let create = ["service", "create", "--detach", "--name", "secret"];
    let image = "10.77.0.1:5001/team/secret:v1";
    manager.docker(&[&create[..], &flags, &[image, "sleep", "1000"]].concat()).ok();
    await_running(manager, "secret", 1);
    let tasks = worker.docker(&["ps", "--quiet", "--filter", "name=secret"]);
    assert_eq!(tasks.ok().lines().count(), 1);
}

/// A registry on a host; it ends with the host.
pub(crate) struct Registry<'a> {
    host: &'a Host,
    port: u16,
    closed: bool,
}

impl<'a> Registry<'a> {
    pub(crate) fn start(host: &'a Host, port: u16, htpasswd: Option<&str>) -> Self {
        let folder = host.folder().join(format!("registry-{port}"));
        std::fs::create_dir_all(&folder).expect("make the registry's folder");
        let mut config = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": folder.join("data") } },
            "http": { "addr": format!("0.0.0.0:{port}") },
        });
        if let Some(htpasswd) = htpasswd {
            let path = folder.join("htpasswd");
            std::fs::write(&path, htpasswd).expect("write the passwords");
            config["auth"] = json!({ "htpasswd": { "realm": "registry", "path": path } });
        }
        let path = folder.join("config.yml");
        // JSON is YAML too.
        std::fs::write(&path, config.to_string()).expect("write the registry's settings");
        let mut command = host.command("docker-registry");
        command.arg("serve").arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(command.spawn().expect("start the registry"));
        let registry = Self { host, port, closed: htpasswd.is_some() };
        wait_until(PATIENCE, "the registry", || {
            host.in_network(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port))).ok()
        });
        registry
    }

    /// Stores an image that prints a line; its digest.
    fn push(&self, name: &str, tag: &str, line: &str) -> String {
        let files = unpack(&busybox_image_tar(IMAGE));
        let list: Value = serde_json::from_slice(&files["manifest.json"]).expect("a manifest");
        let content = |path: &Value| &files[path.as_str().expect("a path")];
        let (layer, config) = (content(&list[0]["Layers"][0]), content(&list[0]["Config"]));
        let mut config: Value = serde_json::from_slice(config).expect("a configuration");
        config["config"]["Cmd"] = json!(["echo", line]);
        let config = config.to_string();
        let part = |media_type: &str, content: &[u8]| {
            let digest = self.upload(name, content);
            json!({ "mediaType": media_type, "size": content.len(), "digest": digest })
        };
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": part("application/vnd.docker.container.image.v1+json", config.as_bytes()),
            "layers": [part("application/vnd.docker.image.rootfs.diff.tar", layer)],
        });
        let manifest = manifest.to_string();
        self.send("PUT", &format!("/v2/{name}/manifests/{tag}"), media_type, manifest.as_bytes());
        digest(manifest.as_bytes())
    }

    fn upload(&self, name: &str, content: &[u8]) -> String {
        let digest = digest(content);
        let binary = "application/octet-stream";
        let answer = self.send("POST", &format!("/v2/{name}/blobs/uploads/"), binary, b"");
        let place = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        let place = place.expect("a place to upload to").trim_end();
        let path = place.find("/v2/").map(|start| &place[start..]).expect("a path");
        self.send("PUT", &format!("{path}&digest={digest}"), binary, content);
        digest
    }

    /// A request that must succeed; the answer.
    fn send(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> String {
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = self.host.in_network(connect).expect("connect to the registry");
        let password =
            if self.closed { format!("Authorization: Basic {BASIC}\r\n") } else { String::new() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n{password}\
             Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("send a head");
        stream.write_all(body).expect("send a body");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        answer
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("read an entry");
            (path, content)
        })
        .collect()
}

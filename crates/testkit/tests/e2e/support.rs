//! What the scenarios share: a swarm with an image on every node, and readers for what the CLI and the API print.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use swarm_testkit::{
    Cluster, Daemon, Engine, busybox_image_tar, require_command, require_hosts, wait_until,
};

/// The image that the scenarios run: busybox under the name that the documents use.
pub(crate) const IMAGE: &str = "alpine:latest";

/// Long enough for a slow machine; what must be quick is measured by its own test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether hosts can be made and the CLI is there.
#[must_use]
pub(crate) fn can_run() -> bool {
    require_hosts() && require_command("docker") && require_command("busybox")
}

/// A swarm of so many nodes, the first its manager, with the image on each.
pub(crate) fn swarm(nodes: usize) -> Cluster {
    let cluster = Cluster::swarm(nodes);
    cluster.load(&busybox_image_tar(IMAGE));
    cluster
}

/// A single daemon outside any swarm, with the image.
pub(crate) fn single() -> Cluster {
    let cluster = Cluster::start(1);
    cluster.load(&busybox_image_tar(IMAGE));
    cluster
}

/// A table of the CLI, its header first, cut where the header's columns begin.
pub(crate) fn table(text: &str) -> Vec<Vec<String>> {
    let header: Vec<char> = text.lines().next().unwrap_or_default().chars().collect();
    let starts: Vec<usize> = (0..header.len())
        .filter(|&at| {
            let gap = |back: usize| at >= back && header[at - back] == ' ';
            header[at] != ' ' && (at == 0 || (gap(1) && gap(2)))
        })
        .collect();
    let cut = |line: &str| {
        let line: Vec<char> = line.chars().collect();
        let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
        let cell = |(start, end): (usize, usize)| {
            let end = end.min(line.len());
            line.get(start..end)
                .unwrap_or_default()
                .iter()
                .collect::<String>()
                .trim_end()
                .to_owned()
        };
        starts.iter().copied().zip(ends).map(cell).collect()
    };
    text.lines().map(cut).collect()
}

/// How many tasks of a service run on which node.
pub(crate) fn spread(manager: &impl Engine, service: &str) -> BTreeMap<String, usize> {
    let format = "{{.Node}} {{.CurrentState}}";
    let tasks = manager.docker(&[
        "service",
        "ps",
        service,
        "--filter",
        "desired-state=running",
        "--format",
        format,
    ]);
    let mut spread = BTreeMap::new();
    for line in tasks.ok().lines() {
        let (node, state) = line.split_once(' ').expect("two columns");
        if state.starts_with("Running") {
            *spread.entry(node.to_owned()).or_default() += 1;
        }
    }
    spread
}

/// Waits until a service's running tasks are spread over the nodes like that.
#[track_caller]
pub(crate) fn await_spread(manager: &impl Engine, service: &str, wanted: &[(&str, usize)]) {
    let wanted: BTreeMap<String, usize> =
        wanted.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
    wait_until(PATIENCE, &format!("{service} to run on {wanted:?}"), || {
        (spread(manager, service) == wanted).then_some(())
    });
}

/// Waits until so many tasks of a service run.
#[track_caller]
pub(crate) fn await_running(manager: &impl Engine, service: &str, count: usize) {
    wait_until(PATIENCE, &format!("{count} running tasks of {service}"), || {
        (spread(manager, service).values().sum::<usize>() == count).then_some(())
    });
}

/// Waits until a command prints a text that satisfies the condition, and returns it.
#[track_caller]
pub(crate) fn await_output(
    engine: &impl Engine,
    arguments: &[&str],
    condition: impl Fn(&str) -> bool,
) -> String {
    let mut last = String::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    wait_until(PATIENCE * 2, &format!("docker {arguments:?}"), || {
        let output = engine.docker(arguments);
        last = format!("{}{}", output.stdout, output.stderr);
        let over = std::time::Instant::now() > deadline;
        assert!(!over, "docker {arguments:?} still prints:\n{last}");
        condition(&last).then_some(())
    });
    last
}

/// `docker node ls` of an engine as `hostname: status manager-status`, sorted.
pub(crate) fn nodes(engine: &impl Engine) -> Vec<String> {
    let format = "{{.Hostname}}: {{.Status}} {{.ManagerStatus}}";
    let output = engine.docker(&["node", "ls", "--format", format]);
    let mut lines: Vec<String> = output.stdout.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

/// Waits until [`nodes`] are these.
#[track_caller]
pub(crate) fn await_nodes(engine: &impl Engine, expect: &[&str]) {
    await_nodes_as(engine, expect, str::to_owned);
}

/// As [`await_nodes`], each line taken as `seen` says.
#[track_caller]
pub(crate) fn await_nodes_as(engine: &impl Engine, expect: &[&str], seen: fn(&str) -> String) {
    let mut last = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    wait_until(PATIENCE * 2, "the list of nodes", || {
        last = nodes(engine).iter().map(|line| seen(line)).collect();
        assert!(std::time::Instant::now() < deadline, "{last:?} instead of {expect:?}");
        (last == expect).then_some(())
    });
}

/// The names of an engine's services, sorted.
pub(crate) fn services(engine: &impl Engine) -> Vec<String> {
    let listed = engine.docker(&["service", "ls", "--format", "{{.Name}}"]).ok();
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// The process of every running container of a daemon, by container ID.
pub(crate) fn processes(daemon: &Daemon) -> BTreeMap<String, String> {
    let containers = daemon.docker(&["ps", "--quiet", "--no-trunc"]).ok();
    let process = |id: &str| daemon.docker(&["inspect", "--format", "{{.State.Pid}}", id]).ok();
    containers.lines().map(|id| (id.to_owned(), process(id))).collect()
}

/// Writes a file into the lab and returns its path.
pub(crate) fn file(cluster: &Cluster, name: &str, content: &[u8]) -> PathBuf {
    let path = cluster.lab().folder().join(name);
    std::fs::write(&path, content).expect("write a file of the lab");
    path
}

/// A raw request to the API: what the CLI wouldn't send. Returns the status and the body.
pub(crate) fn request(engine: &impl Engine, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = UnixStream::connect(engine.socket()).expect("connect to the API");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("send a head");
    // A server may answer and hang up before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let json = body.find('{').zip(body.rfind('}')).map(|(from, to)| &body[from..=to]);
    (status, json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Value::Null))
}

/// As [`request`], from a daemon that may end meanwhile: the status, if there was an answer.
pub(crate) fn try_request(socket: &Path, method: &str, path: &str, body: &[u8]) -> Option<u16> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

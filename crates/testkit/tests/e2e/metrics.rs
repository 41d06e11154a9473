//! `--metrics-addr`: what a scraper reads of a manager and of its engine.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use swarm_testkit::{Cluster, Daemon, Engine, Lab, busybox_image_tar, wait_until};

use crate::support::{IMAGE, PATIENCE, can_run};

const ADDRESS: &str = "127.0.0.1:9323";

/// What `GET /metrics` answers on a daemon's host.
fn scrape(daemon: &Daemon) -> String {
    daemon.host().in_network(|| {
        let mut stream = TcpStream::connect(ADDRESS).expect("the endpoint listens");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            .expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    })
}

/// The value of a figure, by its name and labels.
fn figure(answer: &str, name: &str) -> Option<f64> {
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[test]
fn figures_are_served_under_docker_s_names() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let daemon = Daemon::start(lab.host("node1"), &["--metrics-addr", ADDRESS]);
    let before = scrape(&daemon);
    assert!(before.starts_with("HTTP/1.1 200"), "{before}");
    for (name, expect) in [
        ("swarm_manager_leader", 0.0),
        ("swarm_node_manager", 0.0),
        ("swarm_manager_services_total", 0.0),
        ("engine_daemon_container_states_containers{state=\"running\"}", 0.0),
        ("swarm_raft_transaction_latency_seconds_count", 0.0),
    ] {
        assert_eq!(figure(&before, name), Some(expect), "{name} in {before}");
    }
    assert!(!before.contains("swarm_node_info{"), "{before}");
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(before.contains(version), "{before}");

    let archive = lab.folder().join("image.tar");
    std::fs::write(&archive, busybox_image_tar(IMAGE)).expect("written");
    daemon.docker(&["load", "--input", archive.to_str().expect("a plain path")]).ok();
    let address = daemon.host().address().to_string();
    daemon.docker(&["swarm", "init", "--advertise-addr", &address]).ok();
    let service = ["service", "create", "--detach", "--name", "web", "--replicas", "2"];
    daemon.docker(&[&service[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    // The delay is counted a moment after the task's state.
    let told = [
        "swarm_manager_tasks_total{state=\"running\"}",
        "swarm_dispatcher_scheduling_delay_seconds_count",
    ];
    let answer = wait_until(PATIENCE, "two running tasks", || {
        let is_told = |answer: &String| told.iter().all(|name| figure(answer, name) == Some(2.0));
        Some(scrape(&daemon)).filter(is_told)
    });
    for (name, expect) in [
        ("swarm_manager_leader", 1.0),
        ("swarm_node_manager", 1.0),
        ("swarm_manager_services_total", 1.0),
        ("swarm_manager_nodes{state=\"ready\"}", 1.0),
        ("swarm_manager_nodes_total{state=\"ready\"}", 1.0),
        ("swarm_manager_nodes{state=\"down\"}", 0.0),
        ("swarm_manager_tasks_total{state=\"failed\"}", 0.0),
        ("engine_daemon_container_states_containers{state=\"running\"}", 2.0),
    ] {
        assert_eq!(figure(&answer, name), Some(expect), "{name} in {answer}");
    }
    let node = daemon.docker(&["info", "--format", "{{.Swarm.NodeID}}"]).ok();
    assert!(answer.contains(&format!("node_id=\"{node}\"")), "{answer}");
    let commits = figure(&answer, "swarm_raft_transaction_latency_seconds_count");
    assert!(commits > Some(3.0), "{commits:?}");
    assert!(figure(&answer, "process_resident_memory_bytes") > Some(1e6), "{answer}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    if !can_run() {
        return;
    }
    let cluster = Cluster::start(1);
    let host = cluster[0].host();
    let mut second = host.command(swarm_testkit::swarm_binary());
    let folder = host.folder().join("second");
    second.arg("daemon").arg("--data-root").arg(folder.join("data"));
    second.arg("--exec-root").arg(folder.join("exec")).arg("--pidfile").arg(folder.join("pid"));
    second.arg("--host").arg(format!("unix://{}", folder.join("sock").display()));
    second.args(["--bridge", "none", "--metrics-addr", "192.0.2.1:9323"]);
    let said = swarm_testkit::Output::of(&mut second).refused();
    assert!(said.contains("192.0.2.1:9323 (--metrics-addr)"), "{said}");
}

//! Standalone Swarm with several managers: stores, agents, leader election and replicas that pass requests on.
//!
//! The Consul of these tests is the testkit's stand-in; etcd and ZooKeeper are real ones.

#![expect(clippy::print_stdout, reason = "figures are printed, and logs where a test fails")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use swarm_testkit::{
    Consul, Engine, Etcd, Host, KeyStore, Lab, Output, StockEngine, ZooKeeper, busybox_image_tar,
    require, require_command, swarm_binary, wait_until,
};

use crate::support::{IMAGE, PATIENCE, await_output, can_run};
use crate::tls::make_certificates;

/// The lock's time in these tests.
const TTL: Duration = Duration::from_secs(4);
/// Where the managers listen.
const PORT: u16 = 4000;
/// Below this path everything is stored.
const PREFIX: &str = "nodes";

/// A `swarm` of standalone Swarm on a host: an agent, or a manager.
#[derive(Debug)]
struct Process {
    host: Host,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Engine for Process {
    fn host(&self) -> &Host {
        &self.host
    }
}

impl Process {
    fn start(host: Host, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut process = Self { host, arguments, child: None };
        process.restart();
        process
    }

    /// A manager that others know by its host's address.
    fn manager(host: Host, store: &dyn KeyStore, ttl: Duration) -> Self {
        let socket = format!("unix://{}", host.folder().join("docker.sock").display());
        let own = format!("{}:{PORT}", host.address());
        let (ttl, store) = (format!("{}ms", ttl.as_millis()), format!("{}/{PREFIX}", store.url()));
        let listen = format!(":{PORT}");
        let mut arguments = vec!["manage", "-H", &socket, "-H", &listen, "--replication"];
        arguments.extend(["--replication-ttl", &ttl, "--advertise", &own, &store]);
        Self::start(host, &arguments)
    }

    fn restart(&mut self) {
        let log = self.host.folder().join("standalone.log");
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = self.host.command(swarm_binary());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log);
        self.child = Some(command.spawn().expect("start swarm"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.host.folder().join("standalone.log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process ID"));
        kill(pid, signal).expect("signal swarm");
    }

    /// Ends it by this signal.
    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("wait for swarm");
    }

    fn address(&self) -> String {
        format!("{}:{PORT}", self.host.address())
    }

    /// `primary`, or `replica of HOST:PORT`; none where it does not answer.
    fn role(&self) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        write!(stream, "GET /info HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let row = |name: &str| {
            let (_, after) = answer.split_once(&format!("[\"{name}\",\""))?;
            after.split_once('"').map(|(value, _)| value.to_owned())
        };
        match row("Role")?.as_str() {
            "primary" => Some("primary".to_owned()),
            role => Some(format!("{role} of {}", row("Primary")?)),
        }
    }

    fn leads(&self) -> bool {
        self.role().as_deref() == Some("primary")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.host.name(), self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until one manager leads and the others that run follow it; its number.
#[track_caller]
fn await_primary(managers: &[Process], limit: Duration) -> usize {
    wait_until(limit, "one primary that the others follow", || {
        let primary = managers.iter().position(Process::leads)?;
        let expect = format!("replica of {}", managers[primary].address());
        let others = managers
            .iter()
            .enumerate()
            .filter(|(number, manager)| *number != primary && manager.child.is_some());
        others
            .map(|(_, other)| other.role())
            .all(|role| role.as_ref() == Some(&expect))
            .then_some(primary)
    })
}

/// Panics where two lead: one is asked before and after the others.
fn assert_at_most_one(managers: &[Process]) {
    for (number, manager) in managers.iter().enumerate() {
        let asked = Instant::now();
        if !manager.leads() {
            continue;
        }
        let others: Vec<usize> = (0..managers.len())
            .filter(|other| *other != number && managers[*other].leads())
            .collect();
        // In less than the lock's time nobody leads twice.
        if manager.leads() && asked.elapsed() < TTL / 4 {
            assert!(others.is_empty(), "{others:?} lead while {number} does");
        }
    }
}

fn managers(lab: &Lab, store: &dyn KeyStore, count: usize, ttl: Duration) -> Vec<Process> {
    let start = |number| Process::manager(lab.host(&format!("manager{number}")), store, ttl);
    (0..count).map(start).collect()
}

/// What must hold with any store: a primary that is killed, ended or suspended is followed by another one in time, and a
/// store that was away is taken up again.
fn fail_over(lab: &Lab, store: &mut dyn KeyStore) {
    let mut managers = managers(lab, store, 3, TTL);
    let first = await_primary(&managers, PATIENCE);

    managers[first].end(Signal::SIGKILL);
    let killed = Instant::now();
    let second = await_primary(&managers, PATIENCE);
    println!("killed: {:.2} s to another primary", killed.elapsed().as_secs_f64());
    assert!(killed.elapsed() < TTL + Duration::from_secs(1), "{:?}", killed.elapsed());

    managers[first].restart();
    await_primary(&managers, PATIENCE);
    managers[second].end(Signal::SIGTERM);
    let ended = Instant::now();
    let third = await_primary(&managers, PATIENCE);
    println!("ended: {:.2} s to another primary", ended.elapsed().as_secs_f64());
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    managers[second].restart();
    await_primary(&managers, PATIENCE);

    // One that wakes up again knows at once that it leads no more.
    managers[third].signal(Signal::SIGSTOP);
    let running: Vec<&Process> = managers
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != third)
        .map(|(_, one)| one)
        .collect();
    wait_until(PATIENCE, "another primary", || running.iter().any(|one| one.leads()).then_some(()));
    managers[third].signal(Signal::SIGCONT);
    assert_at_most_one(&managers);
    let fourth = await_primary(&managers, PATIENCE);
    assert_ne!(fourth, third);

    // Without a store: reads go on, changes don't.
    store.kill();
    wait_until(PATIENCE, "the primary to step down", || (!managers[fourth].leads()).then_some(()));
    for manager in &managers {
        assert_eq!(manager.docker(&["ps", "--quiet"]).ok(), "");
        let refused = manager.docker(&["volume", "create", "v"]).refused();
        assert!(refused.contains("No elected primary cluster manager"), "{refused}");
        assert!(!manager.leads());
    }
    store.restart();
    let returned = Instant::now();
    await_primary(&managers, PATIENCE);
    println!("store back: {:.2} s to a primary", returned.elapsed().as_secs_f64());
    assert!(returned.elapsed() < Duration::from_secs(5), "{:?}", returned.elapsed());
}

#[test]
fn managers_fail_over_with_etcd() {
    if !(can_run() && require_command("etcd")) {
        return;
    }
    let lab = Lab::new();
    let mut store = Etcd::start(vec![lab.host("store")]);
    fail_over(&lab, &mut store);
}

#[test]
fn managers_fail_over_with_consul() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let mut store = Consul::start(lab.host("store"), Duration::from_secs(1));
    fail_over(&lab, &mut store);
}

#[test]
fn managers_fail_over_with_zookeeper() {
    if !(can_run() && require_command("java") && require_zookeeper()) {
        return;
    }
    let lab = Lab::new();
    let mut store = ZooKeeper::start(lab.host("store"));
    fail_over(&lab, &mut store);
}

fn require_zookeeper() -> bool {
    require(ZooKeeper::is_installed(), "needs ZooKeeper, of Debian's package zookeeper")
}

#[test]
fn a_lost_member_of_the_store_is_no_lost_store() {
    if !(can_run() && require_command("etcd")) {
        return;
    }
    let lab = Lab::new();
    let mut store =
        Etcd::start((1..=3).map(|number| lab.host(&format!("store{number}"))).collect());
    let managers = managers(&lab, &store, 2, TTL);
    let agent = ["join", "--advertise", "10.9.9.9:2375", "--heartbeat", "1s", "--ttl", "4s"];
    let url = format!("{}/{PREFIX}", store.url());
    let _agent = Process::start(lab.host("agent"), &[&agent[..], &[&url]].concat());
    let knows = |manager: &Process| manager.docker(&["info"]).ok().contains("Nodes: 1");
    wait_until(PATIENCE, "managers to know the node", || managers.iter().all(knows).then_some(()));
    await_primary(&managers, PATIENCE);
    for _ in 0..2 {
        let lost = store.kill_leader();
        let begun = Instant::now();
        await_primary(&managers, PATIENCE);
        println!("leader of etcd lost: {:.2} s to a primary", begun.elapsed().as_secs_f64());
        assert_at_most_one(&managers);
        assert!(managers.iter().all(knows));
        store.restart_member(lost);
    }
}

#[test]
fn agents_come_and_go_at_a_store_that_asks_for_certificates() {
    if !(can_run() && require_command("etcd") && require_command("openssl")) {
        return;
    }
    let lab = Lab::new();
    make_certificates(lab.folder());
    let store = Etcd::start_with_tls(lab.host("store"), lab.folder());
    let url = format!("{}/{PREFIX}", store.url());
    let option = |name: &str, file: &str| {
        format!("--discovery-opt=kv.{name}={}", lab.folder().join(file).display())
    };
    let authority = option("cacertfile", "ca.pem");
    let own = [option("certfile", "client.pem"), option("keyfile", "client-key.pem")];
    let user = lab.host("user");
    let list = |options: &[&str]| {
        let mut command = user.command(swarm_binary());
        Output::of(command.args(["list", "--timeout", "2s"]).args(options).arg(&url))
    };
    let with_certificate = [&*authority, &*own[0], &*own[1]];
    assert_eq!(list(&with_certificate).ok(), "");
    for (options, why) in [
        (&[][..], "no TLS"),
        (&[&*authority], "no certificate"),
        (&[&*own[0], &*own[1]], "nobody vouches for the store"),
    ] {
        let said = list(options).refused();
        assert!(said.contains("is unavailable") || said.contains("Timed out"), "{why}: {said}");
    }
    let said = list(&[&own[0]]).refused();
    assert!(said.contains("kv.certfile and kv.keyfile go together"), "{said}");
    let nowhere = option("cacertfile", "nowhere.pem");
    assert!(list(&[&nowhere]).refused().contains("could not read CA certificate"));

    let join = ["join", "--heartbeat", "1s", "--ttl", "3s", "--advertise", "10.9.9.9:2375"];
    let arguments = [&join[..], &with_certificate, &[&url]].concat();
    let mut agent = Process::start(lab.host("agent"), &arguments);
    let await_list = |expect: &str| {
        wait_until(PATIENCE, &format!("the list {expect:?}"), || {
            (list(&with_certificate).ok() == expect).then_some(())
        });
    };
    await_list("10.9.9.9:2375");
    agent.end(Signal::SIGKILL);
    await_list("");
    agent.restart();
    await_list("10.9.9.9:2375");
}

/// `SWARM_KILLS` of them in a row, or a few.
#[test]
fn never_two_primaries_however_often_one_is_killed() {
    if !(can_run() && require_command("etcd")) {
        return;
    }
    let kills = std::env::var("SWARM_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let ttl = Duration::from_secs(2);
    let lab = Lab::new();
    let store = Etcd::start(vec![lab.host("store")]);
    let mut managers = managers(&lab, &store, 3, ttl);
    let mut times = Vec::new();
    for number in 0..kills {
        let primary = await_primary(&managers, PATIENCE);
        // In turn: killed, or suspended and awake again when another one leads.
        let is_killed = number % 3 != 2;
        let begun = Instant::now();
        match is_killed {
            true => managers[primary].end(Signal::SIGKILL),
            false => managers[primary].signal(Signal::SIGSTOP),
        }
        wait_until(PATIENCE, "another primary", || {
            let others = managers.iter().enumerate().filter(|(other, _)| *other != primary);
            let leads = others.filter(|(_, other)| other.leads()).count();
            assert!(leads < 2, "two lead");
            (leads == 1).then_some(())
        });
        times.push(begun.elapsed());
        match is_killed {
            true => managers[primary].restart(),
            false => managers[primary].signal(Signal::SIGCONT),
        }
        for _ in 0..20 {
            assert_at_most_one(&managers);
        }
    }
    times.sort();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{kills} primaries lost, lock of {ttl:?}: median {median:.2?}, longest {longest:.2?}");
    assert!(longest < ttl + Duration::from_secs(1), "{times:?}");
}

/// The steps of the document "High availability in Docker Swarm".
#[test]
fn high_availability_as_documented() {
    if !(can_run() && require_command("etcd") && require_command("dockerd")) {
        return;
    }
    let lab = Lab::new();
    let store = Etcd::start(vec![lab.host("store")]);
    let tar = lab.folder().join("image.tar");
    fs::write(&tar, busybox_image_tar(IMAGE)).expect("write the image");
    let engines: Vec<StockEngine> = (0..2)
        .map(|number| {
            let host = lab.host(&format!("swarm-agent-{number}"));
            let listen = format!("tcp://{}:2375", host.address());
            let engine = StockEngine::start(host, &["--tls=false", "--host", &listen]);
            engine.docker(&["load", "--input", &tar.display().to_string()]).ok();
            engine
        })
        .collect();

    let mut managers = vec![Process::manager(lab.host("manager-1"), &store, TTL)];
    wait_until(PATIENCE, "a primary", || managers[0].leads().then_some(()));
    for number in [2, 3] {
        managers.push(Process::manager(lab.host(&format!("manager-{number}")), &store, TTL));
    }
    assert_eq!(await_primary(&managers, PATIENCE), 0);
    let elected = |one: &Process| format!("msg=\"New leader elected: {}\"", one.address());
    let logged = |manager: &Process, expect: &[&str]| {
        let log = manager.log();
        let mut rest = log.as_str();
        for line in expect {
            let (_, after) = rest.split_once(line).unwrap_or_else(|| panic!("{line}: {log}"));
            rest = after;
        }
    };
    logged(
        &managers[0],
        &["msg=\"Listening for HTTP\"", "msg=\"Leader Election: Cluster leadership acquired\""],
    );
    let first = elected(&managers[0]);
    for replica in &managers[1..] {
        let lost = "msg=\"Leader Election: Cluster leadership lost\"";
        logged(replica, &["msg=\"Listening for HTTP\"", lost, &first]);
    }

    let url = format!("{}/{PREFIX}", store.url());
    let agents: Vec<Process> = engines
        .iter()
        .map(|engine| {
            let advertise = format!("--advertise={}:2375", engine.host().address());
            let host = lab.host(&format!("agent-of-{}", engine.host().name()));
            Process::start(host, &["join", &advertise, &url])
        })
        .collect();
    for manager in &managers {
        wait_until(PATIENCE, "two healthy engines", || {
            (manager.docker(&["info"]).ok().matches("Status: Healthy").count() == 2).then_some(())
        });
    }
    logged(&agents[0], &["Registering on the discovery service every 1m0s..."]);
    let listed = Output::of(managers[0].host.command(swarm_binary()).args(["list", &url]));
    assert_eq!(listed.ok().lines().count(), 2);

    let told = managers[0].docker(&["info"]).ok();
    for line in [
        "Role: primary",
        "Strategy: spread",
        "Nodes: 2",
        " swarm-agent-0: ",
        "└ Reserved CPUs: 0 / ",
    ] {
        assert!(told.contains(line), "{line} is missing: {told}");
    }
    let told = managers[1].docker(&["info"]).ok();
    let primary = format!("Role: replica\n Primary: {}", managers[0].address());
    assert!(told.contains(&primary), "{told}");

    // Any manager does: what it does not do itself it passes on, streams included.
    let replica = &managers[1];
    let run = |flags: &[&str], script: &str| {
        let run = ["run", "--detach", "--env"];
        replica.docker(&[&run[..], flags, &[IMAGE, "sh", "-c", script]].concat()).ok();
    };
    run(&["constraint:node==swarm-agent-1", "--name", "web"], "echo up; sleep 1000");
    let on_first = ["constraint:node==~swarm-agent-0", "--env", "reschedule:on-node-failure"];
    run(&[&on_first[..], &["--name", "moves"]].concat(), "sleep 1000");
    assert_eq!(managers[2].docker(&["exec", "web", "echo", "hello"]).ok(), "hello");
    let echoed =
        replica.docker_given(&["run", "--rm", "--interactive", IMAGE, "cat"], "to and fro");
    assert_eq!(echoed.stdout, "to and fro");
    wait_until(PATIENCE, "the container's log", || {
        (replica.docker(&["logs", "web"]).ok() == "up").then_some(())
    });
    managers[0].docker(&["inspect", "web"]).ok();
    let mut events = UnixStream::connect(replica.socket()).expect("connect to a replica");
    events.set_read_timeout(Some(PATIENCE)).expect("a time");
    write!(events, "GET /events HTTP/1.1\r\nHost: docker\r\n\r\n").expect("ask for events");
    let mut told = BufReader::new(events).lines();
    assert_eq!(told.next().expect("an answer").expect("a line"), "HTTP/1.1 200 OK");
    managers[2].docker(&["restart", "--time", "0", "web"]).ok();
    let is_restart = |line: std::io::Result<String>| line.expect("a line").contains("\"restart\"");
    assert!(told.any(is_restart), "the stream of events ended");

    // The primary and an engine are lost together, as on one machine.
    engines[0].host().cut_off();
    managers[0].end(Signal::SIGKILL);
    let killed = Instant::now();
    let second = await_primary(&managers, PATIENCE);
    assert!(killed.elapsed() < TTL + Duration::from_secs(1), "{:?}", killed.elapsed());
    let elected = elected(&managers[second]);
    logged(&managers[second], &[&first, "Cluster leadership acquired"]);
    logged(&managers[3 - second], &[&first, &elected]);
    for manager in &managers[1..] {
        manager.docker(&["stop", "--time", "0", "web"]).ok();
        manager.docker(&["start", "web"]).ok();
    }
    let names = ["ps", "--format", "{{.Names}}", "--filter", "name=moves"];
    await_output(&managers[second], &names, |names| names == "swarm-agent-1/moves");
}

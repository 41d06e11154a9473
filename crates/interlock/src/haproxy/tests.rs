//! With a real HAProxy: what it is given while connections come and go.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use swarm_testkit::require_command;

use super::*;
use crate::plan::{Host, Upstream};
use crate::render::render;

/// Where somebody answers every request at once, and keeps the connection.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port()
}

/// A request on this connection; whether the connection goes on.
fn request(stream: &mut TcpStream) -> std::io::Result<bool> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.local\r\n\r\n")?;
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with("\r\n\r\nok") {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    Ok(!answer.to_ascii_lowercase().contains("connection: close"))
}

struct Case {
    haproxy: Haproxy,
    settings: Settings,
    server: SocketAddr,
    _folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let values = [
            ("HAPROXY_PORT", free_port().to_string()),
            ("HAPROXY_PROXY_CONFIG_PATH", file("proxy.conf")),
            ("HAPROXY_PID_PATH", file("proxy.pid")),
        ];
        let value =
            |name: &str| values.iter().find(|(own, _)| *own == name).map(|(_, v)| v.clone());
        let settings = Settings::read(value).expect("settings");
        let haproxy = Haproxy::new(&settings).expect("haproxy");
        Self { haproxy, settings, server: server(), _folder: folder }
    }

    /// A configuration that differs from all others.
    fn text(&self, number: u32, options: &[&str]) -> String {
        let upstream = |number| Upstream {
            name: format!("server{number}"),
            address: self.server.to_string(),
            check_interval_ms: 1000,
            ssl: false,
            ssl_verify: "none".into(),
        };
        let host = Host {
            name: "a_local".into(),
            domain: "a.local".into(),
            backend_options: options.iter().map(|option| (*option).to_owned()).collect(),
            upstreams: (0..=number).map(upstream).collect(),
            ..Host::default()
        };
        render(None, &self.settings, &self.haproxy.socket(), &[host]).expect("rendered")
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.settings.ports[0]).into()
    }
}

/// Connections from several clients until the flag is set; how many requests were answered, and what went wrong.
fn load(address: SocketAddr, clients: usize, is_over: &Arc<AtomicBool>) -> (u32, Vec<String>) {
    let answered = AtomicU32::new(0);
    let client = |keeps: bool| {
        let mut failures = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let result = TcpStream::connect(address).and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                while request(&mut stream)? {
                    answered.fetch_add(1, Ordering::Relaxed);
                    if !keeps || is_over.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                }
                answered.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            failures.extend(result.err().map(|error| error.to_string()));
        }
        failures
    };
    let failures = std::thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || client(number % 2 == 0))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    (answered.into_inner(), failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_lose_no_request() {
    if !require_command("haproxy") {
        return;
    }
    let mut case = Case::new();
    case.haproxy.apply(&case.text(0, &[])).await.expect("started");
    let is_over = Arc::new(AtomicBool::new(false));
    let (address, over) = (case.address(), is_over.clone());
    let load = std::thread::spawn(move || load(address, 8, &over));
    let mut workers = BTreeSet::new();
    for number in 1..=20 {
        case.haproxy.apply(&case.text(number, &[])).await.expect("reloaded");
        workers.insert(case.haproxy.worker);
    }
    is_over.store(true, Ordering::Relaxed);
    let (answered, failures) = load.join().expect("the load");
    assert_eq!(workers.len(), 20, "each reload has a worker of its own");
    assert!(failures.is_empty(), "{} of {answered} failed: {failures:?}", failures.len());
    assert!(answered > 100, "{answered}");
    case.haproxy.stop().await;
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    if !require_command("haproxy") {
        return;
    }
    let mut case = Case::new();
    let good = case.text(0, &[]);
    case.haproxy.apply(&good).await.expect("started");
    let bad = case.text(1, &["nonsense"]);
    let refused = case.haproxy.apply(&bad).await.expect_err("refused");
    let HaproxyError::Refused(refusal) = &refused else { panic!("{refused}") };
    let line = 1 + bad.lines().position(|line| line.contains("nonsense")).expect("the option");
    assert_eq!(refusal.lines, BTreeSet::from([line]), "{refusal}");
    assert!(case.haproxy.runs(&good));
    assert_eq!(std::fs::read_to_string(&case.settings.config_path).expect("read"), good);
    let mut stream = TcpStream::connect(case.address()).expect("connect");
    request(&mut stream).expect("an answer");
    case.haproxy.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    if !require_command("haproxy") {
        return;
    }
    let mut case = Case::new();
    // Whoever listens without sharing keeps the port for himself.
    let _taken = TcpListener::bind(case.address()).expect("listen");
    let error = case.haproxy.apply(&case.text(0, &[])).await.expect_err("ended");
    assert!(matches!(error, HaproxyError::Ended(_)), "{error}");
}

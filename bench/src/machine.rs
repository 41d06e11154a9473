//! A host with an engine, ours or Docker's, that can be killed and started again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use swarm_testkit::{Daemon, Engine, Host, StockEngine};

/// Where each tells its figures, on its own host.
const METRICS: &str = "127.0.0.1:9323";

const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// One of the two.
#[derive(Debug)]
pub(crate) enum Machine {
    /// Our daemon.
    Ours(Daemon),
    /// `dockerd`.
    Stock(StockEngine),
}

impl Machine {
    /// Starts our daemon.
    pub(crate) fn ours(host: Host) -> Self {
        Self::Ours(Daemon::start(host, &["--metrics-addr", METRICS]))
    }

    /// Starts Docker's. No network is measured, so it may leave its host's firewall alone.
    pub(crate) fn stock(host: Host) -> Self {
        let firewall = ["--iptables=false", "--ip-masq=false"];
        // Older versions have metrics only then.
        let metrics = ["--experimental", "--metrics-addr", METRICS];
        Self::Stock(StockEngine::start(host, &[&firewall[..], &metrics[..]].concat()))
    }

    /// The sum of a figure over all its labels, as the engine tells it; none where it doesn't.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        let answer = self.host().in_network(|| scrape().ok())?;
        let of = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit(' ').next()?.parse().ok()
        };
        answer.lines().filter_map(of).reduce(|sum, value| sum + value)
    }

    /// SIGKILL for the daemon.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Ours(daemon) => daemon.kill(),
            Self::Stock(engine) => engine.kill(),
        }
    }

    /// SIGTERM for the daemon, and waits for its end.
    pub(crate) fn stop(&mut self) {
        match self {
            // Its exit status is no figure.
            Self::Ours(daemon) => drop(daemon.stop()),
            Self::Stock(engine) => engine.stop(),
        }
    }

    /// Starts the daemon again.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Ours(daemon) => daemon.restart(),
            Self::Stock(engine) => engine.restart(),
        }
    }

    /// Ends everything on the host at once, as when it loses power.
    pub(crate) fn kill_machine(&mut self) {
        match self {
            Self::Ours(daemon) => daemon.kill_machine(),
            Self::Stock(engine) => engine.kill_machine(),
        }
    }
}

impl Engine for Machine {
    fn host(&self) -> &Host {
        match self {
            Self::Ours(daemon) => daemon.host(),
            Self::Stock(engine) => engine.host(),
        }
    }
}

fn scrape() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.set_read_timeout(Some(SCRAPE_TIMEOUT))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

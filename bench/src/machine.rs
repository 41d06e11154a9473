//! A host with an engine, ours or Docker's, that can be killed and started again.

use swarm_testkit::{Daemon, Engine, Host, StockEngine};

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
        Self::Ours(Daemon::start(host, &[]))
    }

    /// Starts Docker's. No network is measured, so it may leave its host's firewall alone.
    pub(crate) fn stock(host: Host) -> Self {
        Self::Stock(StockEngine::start(host, &["--iptables=false", "--ip-masq=false"]))
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

//! A stock Docker Engine on a host, as a peer in a swarm or as something to compare with.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::docker::docker_command;
use crate::{Engine, Host, Output, wait_until};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A `dockerd` on a host.
#[derive(Debug)]
pub struct StockEngine {
    host: Host,
    child: Child,
}

impl Engine for StockEngine {
    fn host(&self) -> &Host {
        &self.host
    }
}

impl StockEngine {
    /// Starts `dockerd` (`DOCKERD_BIN`, or `dockerd`) and waits for its API.
    pub fn start(host: Host, flags: &[&str]) -> Self {
        let program = std::env::var_os("DOCKERD_BIN").unwrap_or_else(|| "dockerd".into());
        let folder = host.folder().to_owned();
        let log = File::create(folder.join("daemon.log")).expect("a log file");
        let mut command = host.command(program);
        command.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
        command.arg("--data-root").arg(folder.join("data"));
        command.arg("--exec-root").arg(folder.join("exec"));
        command.arg("--pidfile").arg(folder.join("pid"));
        command.args(flags);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().expect("start dockerd");
        let mut engine = Self { host, child };
        engine.wait_ready();
        engine
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.host.folder().join("daemon.log")).unwrap_or_default()
    }

    fn wait_ready(&mut self) {
        wait_until(START_TIMEOUT, "dockerd's API", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("dockerd ended at once with {status}:\n{}", self.log());
            }
            let socket = self.socket();
            Output::of(docker_command(&self.host, &socket).arg("version")).success().then_some(())
        });
    }
}

impl Drop for StockEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.host.name(), self.log());
        }
        self.host.kill_all();
        let _ = self.child.wait();
    }
}

//! A stock Docker Engine on a host, as a peer in a swarm or as something to compare with.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::docker::docker_command;
use crate::{Engine, Host, Output, wait_until};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A `dockerd` on a host. It can be killed and started again; its data stays with the host.
#[derive(Debug)]
pub struct StockEngine {
    host: Host,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Engine for StockEngine {
    fn host(&self) -> &Host {
        &self.host
    }
}

impl StockEngine {
    /// Starts `dockerd` (`DOCKERD_BIN`, or `dockerd`) and waits for its API.
    pub fn start(host: Host, flags: &[&str]) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut engine = Self { host, flags, child: None };
        engine.restart();
        engine
    }

    /// Starts it again after [`StockEngine::kill`] or [`StockEngine::stop`].
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "dockerd still runs");
        let program = std::env::var_os("DOCKERD_BIN").unwrap_or_else(|| "dockerd".into());
        let folder = self.host.folder().to_owned();
        let log = File::options().create(true).append(true).open(folder.join("daemon.log"));
        let log = log.expect("a log file");
        let mut command = self.host.command(program);
        command.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
        command.arg("--data-root").arg(folder.join("data"));
        command.arg("--exec-root").arg(folder.join("exec"));
        command.arg("--pidfile").arg(folder.join("pid"));
        command.args(&self.flags);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(command.spawn().expect("start dockerd"));
        self.wait_ready();
    }

    /// Kills `dockerd` with SIGKILL; its containerd goes on running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("dockerd runs");
        child.kill().expect("kill dockerd");
        child.wait().expect("wait for dockerd");
        // The next one refuses to start while the file names a process.
        let _ = fs::remove_file(self.host.folder().join("pid"));
    }

    /// Asks it with SIGTERM to end.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("dockerd runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process ID"));
        kill(pid, Signal::SIGTERM).expect("signal dockerd");
        wait_until(STOP_TIMEOUT, "dockerd to end", || child.try_wait().expect("wait"));
    }

    /// All of the host's processes at once, as when the machine loses power.
    pub fn kill_machine(&mut self) {
        self.host.kill_all();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.host.folder().join("daemon.log")).unwrap_or_default()
    }

    fn wait_ready(&mut self) {
        wait_until(START_TIMEOUT, "dockerd's API", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
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
        self.kill_machine();
    }
}

//! Our daemon on a host.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Engine, Host, wait_until};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The executable under test: `SWARM_BIN`, else the one that was built beside the test.
pub fn swarm_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SWARM_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test
        .parent()
        .filter(|folder| !folder.ends_with("deps"))
        .or_else(|| test.ancestors().nth(2));
    let binary = folder.expect("a build folder").join("swarm");
    assert!(
        binary.is_file(),
        "{} is missing: cargo build -p swarm-cli, or set SWARM_BIN",
        binary.display()
    );
    binary
}

/// A `swarm daemon` on a host. It can be killed and started again; its data stays with the host.
#[derive(Debug)]
pub struct Daemon {
    host: Host,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Engine for Daemon {
    fn host(&self) -> &Host {
        &self.host
    }
}

impl Daemon {
    /// Starts the daemon on a host, with flags besides those that name its folders, and waits for its API.
    pub fn start(host: Host, flags: &[&str]) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut daemon = Self { host, flags, child: None };
        daemon.launch();
        daemon
    }

    /// Starts it again after [`Daemon::kill`] or [`Daemon::stop`].
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the daemon still runs");
        self.launch();
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// Kills it with SIGKILL; what it started goes on running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child.kill().expect("kill the daemon");
        child.wait().expect("wait for the daemon");
    }

    /// Asks it with SIGTERM to end; its exit status.
    pub fn stop(&mut self) -> i32 {
        let mut child = self.child.take().expect("the daemon runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process ID"));
        kill(pid, Signal::SIGTERM).expect("signal the daemon");
        let status =
            wait_until(STOP_TIMEOUT, "the daemon to end", || child.try_wait().expect("wait"));
        status.code().unwrap_or(-1)
    }

    /// The daemon, all shims and all containers at once, as when the machine loses power.
    pub fn kill_machine(&mut self) {
        self.host.kill_all();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The folder that was given as `--data-root`.
    pub fn data_root(&self) -> PathBuf {
        self.host.folder().join("data")
    }

    fn launch(&mut self) {
        let log =
            File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(command.spawn().expect("start the daemon"));
        let socket = self.socket();
        wait_until(START_TIMEOUT, "the daemon's API", || {
            if let Some(status) =
                self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
            {
                panic!("the daemon ended at once with {status}:\n{}", self.log());
            }
            UnixStream::connect(&socket).ok()
        });
    }

    fn command(&self) -> Command {
        let folder = self.host.folder();
        let mut command = self.host.command(swarm_binary());
        command.arg("daemon");
        command.arg("--data-root").arg(self.data_root());
        command.arg("--exec-root").arg(folder.join("exec"));
        command.arg("--pidfile").arg(folder.join("pid"));
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command.args(&self.flags);
        command
    }

    fn log_path(&self) -> PathBuf {
        self.host.folder().join("daemon.log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.host.name(), self.log());
        }
        self.kill_machine();
    }
}

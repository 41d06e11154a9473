//! One host of the demonstration and the daemon on it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::keeper::Keeper;
use super::lan::Lan;
use super::site::Site;
use super::sys;
use crate::client::Client;

const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Lines of a failed daemon's log that are shown.
const LOG_TAIL: usize = 10;

/// A host with its daemon.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    address: Ipv4Addr,
    folder: PathBuf,
    socket: PathBuf,
    daemon: Child,
}

impl Host {
    /// Makes host number `number` and starts its daemon.
    pub(super) fn start(
        site: &Site,
        lan: &Lan,
        keeper: &Keeper,
        number: u8,
    ) -> anyhow::Result<Self> {
        let name = format!("demo{number}");
        let folder = site.folder().join(&name);
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let socket = site.folder().join(format!("{name}.sock"));
        let mut command = daemon(&folder, &socket, &site.cgroup().join(&name))?;
        sys::start_on_host(&mut command, lan.host(number)?, keeper.mounts()?, name.clone());
        let daemon =
            keeper.spawn(&mut command).with_context(|| format!("starting the daemon of {name}"))?;
        Ok(Self { name, address: lan.address(number), folder, socket, daemon })
    }

    /// Waits until the daemon's API answers.
    pub(super) async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let client = self.client();
        let deadline = Instant::now() + START_TIMEOUT;
        while !client.answers().await {
            self.check()?;
            if Instant::now() > deadline {
                bail!("the daemon of {} does not answer; its log:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Fails if the daemon has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.daemon.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!("the daemon of {} ended ({status}); its log:\n{}", self.name, self.log_tail())
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.socket.clone())
    }

    /// The daemon's process ID on this machine.
    pub(super) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(log_path(&self.folder)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have been killed already: that is what the demonstration invites to.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn daemon(folder: &Path, socket: &Path, cgroup: &Path) -> anyhow::Result<Command> {
    let log = File::create(log_path(folder))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("daemon")
        .arg("--data-root")
        .arg(folder.join("data"))
        .arg("--exec-root")
        .arg(folder.join("exec"))
        .arg("--pidfile")
        .arg(folder.join("pid"))
        .arg("--cgroup-parent")
        .arg(cgroup)
        .arg("--host")
        .arg(format!("unix://{}", socket.display()))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the demonstration, which ends its daemons itself.
        .process_group(0);
    Ok(command)
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("daemon.log")
}

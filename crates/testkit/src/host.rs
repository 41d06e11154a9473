//! A machine, as far as a daemon can tell: a network, mounts and a host name of its own.
//!
//! One sleeping process keeps the namespaces for as long as the host stands, so that a daemon that is killed and
//! started again finds its mounts and its network as they were.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use swarm_network::netns;

use crate::{Lab, Output, processes, wait_until};

/// The table of [`Host::deafen`].
const DEAF: &str = "deaf";

/// A host in a lab. Dropping it ends everything that runs on it.
#[derive(Debug)]
pub struct Host {
    lab: Lab,
    name: String,
    address: Ipv4Addr,
    folder: PathBuf,
    keeper: Child,
}

impl Host {
    pub(crate) fn start(lab: Lab, name: &str, address: Ipv4Addr) -> Result<Self> {
        let folder = lab.folder().join(name);
        fs::create_dir_all(&folder)?;
        let netns = folder.join("netns");
        netns::create(&netns)?;
        lab.plug_in(&netns, address)?;
        let keeper = Command::new("nsenter")
            .arg(format!("--net={}", netns.display()))
            .args([
                "unshare",
                "--mount",
                "--uts",
                "sh",
                "-c",
                "hostname \"$1\" && exec sleep infinity",
                "sh",
            ])
            .arg(name)
            .stdin(Stdio::null())
            .spawn()
            .context("start a host's keeper")?;
        let process = PathBuf::from(format!("/proc/{}", keeper.id()));
        wait_until(Duration::from_secs(5), "a host's namespaces", || {
            fs::read_to_string(process.join("comm")).ok().filter(|comm| comm.trim() == "sleep")
        });
        Ok(Self { lab, name: name.into(), address, folder, keeper })
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the lab's switch.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its folder, for daemons' data; it goes with the lab.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that will run on the host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--mount",
            "--uts",
            "--net",
            "--target",
            &self.keeper.id().to_string(),
            "--",
        ]);
        command.arg(program);
        command
    }

    /// Where its network is mounted, for threads that outlive a call of [`Host::in_network`].
    pub fn netns(&self) -> PathBuf {
        self.folder.join("netns")
    }

    /// Does something in the host's network, to connect to a port on it or to listen there.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::run_in(self.folder.join("netns"), work).expect("enter a host's network")
    }

    /// Kills all that runs on the host at once, containers included, as if its plug were pulled. The host stays.
    pub fn kill_all(&self) {
        processes::kill_all_of(self.keeper.id());
    }

    /// Takes the host's cable away: nobody reaches it, it reaches nobody.
    pub fn cut_off(&self) {
        self.lab.unplug(self.address).expect("unplug a host");
    }

    /// Undoes [`Host::cut_off`].
    pub fn reconnect(&self) {
        self.lab.plug_in(&self.folder.join("netns"), self.address).expect("plug a host in");
    }

    /// From now on nothing arrives here that these addresses send, and nobody is told; whom it did not hear before it
    /// hears again. What this host sends arrives, so one host's deafness is a cut in one direction.
    pub fn deafen(&self, to: &[Ipv4Addr]) {
        // In one transaction, so that there is no moment in between.
        let mut rules = format!("table ip {DEAF} {{}}; delete table ip {DEAF};");
        if !to.is_empty() {
            let to: Vec<String> = to.iter().map(ToString::to_string).collect();
            let drop = format!("ip saddr {{ {} }} drop;", to.join(", "));
            let hook = "type filter hook prerouting priority raw;";
            rules.push_str(&format!(" table ip {DEAF} {{ chain hear {{ {hook} {drop}\n}}\n}}"));
        }
        Output::of(self.command("nft").arg(rules)).ok();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill_all();
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        let _ = self.lab.unplug(self.address);
        let _ = netns::remove(self.folder.join("netns"));
    }
}

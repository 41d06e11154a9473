//! Three engines as a swarm: the two sides of every comparison.

use anyhow::{Context, Result};
use swarm_testkit::{Daemon, Engine, Host, Lab, Output, StockEngine, busybox_image_tar};

use crate::api::Client;
use crate::process::Process;

const IMAGE: &str = "busybox:bench";
const HOSTS: usize = 3;

/// A swarm of one manager (the first engine) and two workers, with the image on each.
pub(crate) struct Side {
    engines: Vec<Box<dyn Engine>>,
    /// The image by its ID, for which neither side asks a registry.
    pub(crate) image: String,
}

impl Side {
    /// Our daemons.
    pub(crate) fn ours() -> Result<Self> {
        Self::start("node", |host| Box::new(Daemon::start(host, &[])))
    }

    /// Docker's engines. No network is measured, so they may leave their hosts' firewall alone.
    pub(crate) fn stock() -> Result<Self> {
        let flags = ["--iptables=false", "--ip-masq=false"];
        Self::start("stock", move |host| Box::new(StockEngine::start(host, &flags)))
    }

    fn start(name: &str, start: impl Fn(Host) -> Box<dyn Engine>) -> Result<Self> {
        let lab = Lab::new();
        let host = |number| prepared(lab.host(&format!("{name}{number}")));
        let engines: Vec<Box<dyn Engine>> = (1..=HOSTS).map(|number| start(host(number))).collect();
        let archive = lab.folder().join("image.tar");
        std::fs::write(&archive, busybox_image_tar(IMAGE))?;
        let manager = engines[0].host().address().to_string();
        engines[0].docker(&["swarm", "init", "--advertise-addr", &manager]).ok();
        let token = engines[0].docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
        for worker in &engines[1..] {
            worker.docker(&["swarm", "join", "--token", &token, &format!("{manager}:2377")]).ok();
        }
        for engine in &engines {
            engine.docker(&["load", "--input", archive.to_str().context("a plain path")?]).ok();
        }
        let mut side = Self { engines, image: String::new() };
        let image = side.manager()?.get(&format!("/images/{IMAGE}/json"))?;
        side.image = image["Id"].as_str().context("an image without ID")?.into();
        Ok(side)
    }

    /// A new connection to the manager.
    pub(crate) fn manager(&self) -> Result<Client> {
        Client::open(&self.engine(0).socket())
    }

    /// One of the engines; the first is the manager.
    pub(crate) fn engine(&self, index: usize) -> &dyn Engine {
        &*self.engines[index]
    }

    /// All processes that one engine's daemon consists of: dockerd runs a containerd of its own.
    pub(crate) fn processes(&self, index: usize) -> Result<Vec<Process>> {
        let daemon = Process::of_file(&self.engine(index).host().folder().join("pid"))?;
        let mut processes = vec![daemon];
        processes
            .extend(daemon.children()?.into_iter().filter(|child| child.name() == "containerd"));
        Ok(processes)
    }
}

/// A host whose folder for what a restart may forget is in memory, as `/run` is on every machine.
fn prepared(host: Host) -> Host {
    let folder = host.folder().join("exec");
    std::fs::create_dir_all(&folder).expect("make a folder");
    Output::of(host.command("mount").args(["-t", "tmpfs", "tmpfs"]).arg(folder)).ok();
    host
}

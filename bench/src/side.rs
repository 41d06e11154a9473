//! Three engines as a swarm: the two sides of every comparison.

use std::path::PathBuf;

use anyhow::{Context, Result};
use swarm_testkit::{Cluster, Engine, Lab, StockEngine, busybox_image_tar};

use crate::api::Client;

const IMAGE: &str = "busybox:bench";
const HOSTS: usize = 3;

/// A swarm of one manager (the first engine) and two workers, with the image on each.
#[derive(Debug)]
pub(crate) struct Side {
    engines: Engines,
    /// The image by its ID, for which neither side asks a registry.
    pub(crate) image: String,
}

#[derive(Debug)]
enum Engines {
    Ours(Cluster),
    Stock(Vec<StockEngine>),
}

impl Side {
    /// Our daemons.
    pub(crate) fn ours() -> Result<Self> {
        let cluster = Cluster::swarm(HOSTS);
        cluster.load(&busybox_image_tar(IMAGE));
        Self::ready(Engines::Ours(cluster))
    }

    /// Docker's engines.
    pub(crate) fn stock() -> Result<Self> {
        let lab = Lab::new();
        let start = |number| {
            let host = lab.host(&format!("stock{number}"));
            StockEngine::start(host, &["--iptables=false", "--ip-masq=false"])
        };
        let engines: Vec<StockEngine> = (1..=HOSTS).map(start).collect();
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
        Self::ready(Engines::Stock(engines))
    }

    fn ready(engines: Engines) -> Result<Self> {
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
        match &self.engines {
            Engines::Ours(cluster) => &cluster[index],
            Engines::Stock(engines) => &engines[index],
        }
    }

    /// The files with the process IDs of all that one engine's daemon consists of, each with its name.
    pub(crate) fn pid_files(&self, index: usize) -> Vec<(&'static str, PathBuf)> {
        let folder = self.engine(index).host().folder();
        match &self.engines {
            Engines::Ours(_) => vec![("daemon", folder.join("pid"))],
            Engines::Stock(_) => vec![
                ("dockerd", folder.join("pid")),
                ("containerd", folder.join("exec/containerd/containerd.pid")),
            ],
        }
    }
}

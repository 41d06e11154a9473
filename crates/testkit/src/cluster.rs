//! Several of our daemons on hosts of one lab.

use std::ops::{Index, IndexMut};

use crate::{Daemon, Engine, Lab};

/// Daemons `node1`, `node2` and so on, `cluster[0]` being the first.
#[derive(Debug)]
pub struct Cluster {
    daemons: Vec<Daemon>,
    lab: Lab,
}

impl Cluster {
    /// Starts so many daemons that know nothing of each other.
    pub fn start(count: usize) -> Self {
        let lab = Lab::new();
        let daemons = (1..=count)
            .map(|number| Daemon::start(lab.host(&format!("node{number}")), &[]))
            .collect();
        Self { daemons, lab }
    }

    /// Starts so many daemons as one swarm: the first is its manager, the others are workers.
    pub fn swarm(count: usize) -> Self {
        Self::swarm_of(1, count.saturating_sub(1))
    }

    /// Starts daemons as one swarm: first its managers, of which the first founds it, then its workers.
    pub fn swarm_of(managers: usize, workers: usize) -> Self {
        let cluster = Self::start(managers + workers);
        let manager = cluster[0].host().address().to_string();
        cluster[0].docker(&["swarm", "init", "--advertise-addr", &manager]).ok();
        let token = |role: &str| cluster[0].docker(&["swarm", "join-token", "--quiet", role]).ok();
        let (manager_token, worker_token) = (token("manager"), token("worker"));
        let remote = format!("{manager}:2377");
        for (number, daemon) in cluster.daemons.iter().enumerate().skip(1) {
            let token = if number < managers { &manager_token } else { &worker_token };
            daemon.docker(&["swarm", "join", "--token", token, &remote]).ok();
        }
        cluster
    }

    /// The lab, for further hosts.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// All daemons.
    pub fn daemons(&self) -> &[Daemon] {
        &self.daemons
    }

    /// Loads an image archive into every daemon.
    pub fn load(&self, image_tar: &[u8]) {
        let path = self.lab.folder().join("image.tar");
        std::fs::write(&path, image_tar).expect("write the image");
        let path = path.to_str().expect("a plain path");
        for daemon in &self.daemons {
            daemon.docker(&["load", "--input", path]).ok();
        }
    }
}

impl Index<usize> for Cluster {
    type Output = Daemon;

    fn index(&self, index: usize) -> &Daemon {
        &self.daemons[index]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, index: usize) -> &mut Daemon {
        &mut self.daemons[index]
    }
}

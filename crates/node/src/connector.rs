//! How this node's agent finds a manager: the one in this process if there is one, else one that it knows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use swarm_agent::{Connection, Connector};
use swarm_ca::{Credentials, TlsMaterials};
use swarm_proto::Channel;

use crate::remotes::Remotes;

/// The name under which the manager in this process appears in logs.
const LOCAL: &str = "local";

/// The managers within reach of this node.
pub(crate) struct Managers {
    materials: TlsMaterials,
    reach: Mutex<Reach>,
}

#[derive(Default)]
struct Reach {
    local: Option<Channel>,
    remotes: Remotes,
    /// The manager to choose next, once.
    preferred: Option<String>,
}

impl Managers {
    pub(crate) fn new(materials: TlsMaterials, known: &[(String, String)]) -> Arc<Self> {
        let mut reach = Reach::default();
        reach.remotes.replace(known);
        Arc::new(Self { materials, reach: Mutex::new(reach) })
    }

    /// Sets, or takes away, the manager in this process.
    pub(crate) fn set_local(&self, channel: Option<Channel>) {
        self.reach().local = channel;
    }

    /// The manager in this process.
    pub(crate) fn local(&self) -> Option<Channel> {
        self.reach().local.clone()
    }

    pub(crate) fn replace(&self, managers: &[(String, String)]) {
        self.reach().remotes.replace(managers);
    }

    pub(crate) fn list(&self) -> Vec<(String, String)> {
        self.reach().remotes.list()
    }

    /// A way to some manager, and its address.
    pub(crate) fn choose(&self) -> Option<(String, Channel)> {
        self.choose_as(&self.materials)
    }

    /// As [`Managers::choose`], showing the certificate in these materials to other nodes.
    pub(crate) fn choose_as(&self, materials: &TlsMaterials) -> Option<(String, Channel)> {
        let mut reach = self.reach();
        let preferred = reach.preferred.take();
        if let Some(channel) = &reach.local {
            return Some((LOCAL.to_owned(), channel.clone()));
        }
        let address = preferred.or_else(|| reach.remotes.choose(rand::random()))?;
        let channel = swarm_ca::connect(&address, Credentials::Member(materials.clone())).ok()?;
        Some((address, channel))
    }

    fn dial(&self, address: &str) -> Option<Channel> {
        swarm_ca::connect(address, Credentials::Member(self.materials.clone())).ok()
    }

    fn reach(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Connector for Managers {
    async fn connect(&self) -> Result<Connection, String> {
        let (address, channel) = self.choose().ok_or("no manager is known")?;
        Ok(Connection { address, channel })
    }

    fn observe(&self, address: &str, well: bool) {
        self.reach().remotes.observe(address, well);
    }

    fn ways(&self) -> Vec<Connection> {
        if let Some(channel) = self.local() {
            return vec![Connection { address: LOCAL.to_owned(), channel }];
        }
        let addresses = self.list().into_iter().map(|(_, address)| address);
        addresses
            .filter_map(|address| {
                let channel = self.dial(&address)?;
                Some(Connection { address, channel })
            })
            .collect()
    }

    fn prefer(&self, address: &str) {
        self.reach().preferred = (address != LOCAL).then(|| address.to_owned());
    }
}

//! The node's handle: its membership from the daemon's start to its end, and what `docker info` tells of it.
//!
//! What users ask for is in rooms of its own: `founding`, `joining`, `leaving`, `unlocking`, `recovery`.

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_ca::{CaError, CertificateFiles};
use swarm_manager::View;
use swarm_proto::Channel;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::addresses::{MANAGER_PORT, split};
use crate::error::NodeError;
use crate::membership::Membership;
use crate::moving;
use crate::options::{LocalState, NodeConfig, NodeStatus};
use crate::post::Beginning;
use crate::state::{SavedMembership, StateFolder};

/// The first pause after a membership did not start with its daemon; it doubles up to [`RESTART_MAX`].
const RESTART_FIRST: Duration = Duration::from_secs(2);
/// Most reasons need somebody to do something.
const RESTART_MAX: Duration = Duration::from_secs(30);

/// A node; clones share it.
#[derive(Clone)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) folder: StateFolder,
    /// Held while the membership changes, so that two commands don't.
    pub(crate) changing: Mutex<()>,
    current: StdMutex<Current>,
}

/// Where the node stands.
#[derive(Default)]
pub(crate) struct Current {
    pub(crate) membership: Option<Membership>,
    pub(crate) pending: bool,
    pub(crate) error: String,
    /// What starts once the key is given.
    pub(crate) locked: Option<SavedMembership>,
}

impl Node {
    /// Opens the node, and starts its membership if it has one. A membership that does not start leaves the daemon
    /// usable; its status says why.
    pub async fn open(config: NodeConfig) -> Self {
        let folder = StateFolder::new(&config.folder);
        let shared =
            Shared { config, folder, changing: Mutex::default(), current: StdMutex::default() };
        let node = Self { shared: Arc::new(shared) };
        match node.shared.folder.load() {
            Ok(None) => {}
            Ok(Some(saved)) if saved.raft_id != 0 => {
                warn!(
                    "the daemon ended before a cluster was founded here: what there is of it goes"
                );
                node.clear();
            }
            Ok(Some(mut saved)) => {
                let config = &node.shared.config;
                let (default, managed) = (&config.default_advertise, &config.managed_subnets);
                moving::follow_at_start(&mut saved, default, managed);
                let files = node.files();
                if matches!(files.load(), Err(CaError::Locked)) {
                    info!("this manager is locked until it is given the unlock key");
                    node.current().locked = Some(saved);
                } else if let Err(error) = node.start(saved.clone(), files, Beginning::GoOn).await {
                    warn!(%error, "this node's membership did not start");
                    node.current().error = error.to_string();
                    tokio::spawn(node.clone().start_again(saved));
                }
            }
            Err(error) => {
                warn!(%error, "this node's membership cannot be read");
                node.current().error = error.to_string();
            }
        }
        node
    }

    /// Tries for as long as nobody gives the membership up: its disk may have room again.
    async fn start_again(self, saved: SavedMembership) {
        let mut pause = RESTART_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RESTART_MAX);
            let _changing = self.shared.changing.lock().await;
            if self.current().error.is_empty() {
                return;
            }
            match self.start(saved.clone(), self.files(), Beginning::GoOn).await {
                Ok(()) => return info!("this node's membership has started"),
                Err(error) => {
                    warn!(%error, "this node's membership did not start");
                    self.current().error = error.to_string();
                }
            }
        }
    }

    /// Waits for the agent's first session.
    pub(crate) async fn registered(&self) {
        let registered = self.current().membership.as_ref().map(Membership::registered);
        if let Some(mut registered) = registered {
            // The sender ends only with the membership, and then there is nothing to wait for.
            let _ = registered.wait_for(|registered| *registered).await;
        }
    }

    /// What is known of the membership.
    pub fn status(&self) -> NodeStatus {
        let current = self.current();
        match &current.membership {
            Some(membership) => NodeStatus {
                state: LocalState::Active,
                node_id: membership.node_id(),
                node_addr: host_of(&membership.saved().advertise_addr),
                is_manager: membership.is_manager(),
                error: membership.trouble(),
                managers: membership.known_managers(),
            },
            None if current.locked.is_some() => NodeStatus {
                state: LocalState::Locked,
                error: NodeError::locked().to_string(),
                ..NodeStatus::default()
            },
            None => NodeStatus {
                state: match (current.pending, current.error.is_empty()) {
                    (true, _) => LocalState::Pending,
                    (false, true) => LocalState::Inactive,
                    (false, false) => LocalState::Error,
                },
                error: current.error.clone(),
                ..NodeStatus::default()
            },
        }
    }

    /// A channel to the manager's services, as this node.
    ///
    /// # Errors
    /// Docker's refusals where this node is no manager.
    pub fn control(&self) -> Result<Channel, NodeError> {
        let current = self.current();
        match &current.membership {
            Some(membership) => {
                membership.control().ok_or_else(|| match membership.post().trouble() {
                    Some(trouble) => NodeError::manager_down(&trouble),
                    None => NodeError::worker(),
                })
            }
            None if current.locked.is_some() => Err(NodeError::locked()),
            None if current.error.is_empty() => Err(NodeError::not_a_manager()),
            None => Err(NodeError::not_started(&current.error)),
        }
    }

    /// The cluster that this node is in, and what its manager's figures are made of, as far as there are such.
    pub async fn figures(&self) -> (String, Option<View>) {
        let found = {
            let current = self.current();
            current
                .membership
                .as_ref()
                .map(|membership| (membership.cluster_id(), membership.post()))
        };
        match found {
            Some((cluster_id, post)) => (cluster_id, post.figures().await),
            None => (String::new(), None),
        }
    }

    /// Stops the membership for the daemon's end; containers are left as they are.
    pub async fn shutdown(&self) {
        let _changing = self.shared.changing.lock().await;
        // What did not start is not tried again either.
        self.current().error.clear();
        let membership = self.current().membership.take();
        if let Some(membership) = membership {
            membership.stop().await;
        }
    }

    pub(crate) async fn start(
        &self,
        saved: SavedMembership,
        files: CertificateFiles,
        beginning: Beginning,
    ) -> Result<(), NodeError> {
        let folder = &self.shared.folder;
        folder.save(&saved).map_err(|error| NodeError::system(error.to_string()))?;
        let executor = self.shared.config.executor.clone();
        let backups = self.shared.config.backups.clone();
        let membership =
            Membership::start(folder, saved, files, executor, beginning, backups).await?;
        membership.wait_until_ready().await;
        let mut current = self.current();
        current.error.clear();
        current.locked = None;
        current.membership = Some(membership);
        Ok(())
    }

    pub(crate) fn refuse_member(&self) -> Result<(), NodeError> {
        let current = self.current();
        let is_member = current.membership.is_some() || current.locked.is_some();
        match is_member || current.pending || !current.error.is_empty() {
            true => Err(NodeError::already_in_swarm()),
            false => Ok(()),
        }
    }

    pub(crate) fn clear(&self) {
        {
            let mut current = self.current();
            current.error.clear();
            current.locked = None;
        }
        if let Err(error) = self.shared.folder.clear() {
            warn!(%error, "forgetting the membership failed");
        }
    }

    /// The certificate's files, with nothing known of their lock.
    pub(crate) fn files(&self) -> CertificateFiles {
        CertificateFiles::in_state(self.shared.folder.root())
    }

    pub(crate) fn current(&self) -> MutexGuard<'_, Current> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn host_of(address: &str) -> String {
    split(address, MANAGER_PORT).map(|(host, _)| host.to_owned()).unwrap_or_default()
}

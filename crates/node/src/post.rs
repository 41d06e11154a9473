//! The manager's post on a node: held while the certificate says so, given up when the others remove this manager.
//!
//! ```text
//!   certificate: worker ──> manager: take up (join the group, or go on from the log)
//!                manager ──> worker, or removed by the others: give up, and forget the log
//! ```
//!
//! Mirrors the manager half of SwarmKit's `node.Node`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use swarm_ca::{Role, TlsMaterials};
use swarm_manager::{Founding, Manager, ManagerConfig, View};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::connector::Managers;
use crate::error::NodeError;
use crate::state::{SavedMembership, StateFolder};

/// The first pause after a manager did not start; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// A node may wait for long until the others can admit it.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long the start of a daemon waits for the others; a manager without a quorum starts all the same.
const READY_MAX: Duration = Duration::from_secs(5);
/// A manager that was removed has its new certificate in less; SwarmKit waits for 16 s.
const ROLE_CHANGE_MAX: Duration = Duration::from_secs(5);
/// How long taking leave of the others may take.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// The place of the node's manager.
pub(crate) struct Post {
    folder: StateFolder,
    saved: SavedMembership,
    materials: TlsMaterials,
    managers: Arc<Managers>,
    holder: Mutex<Option<Manager>>,
    /// The founder's Raft identity, good for the first start; later ones are told by the log's directory.
    founder_id: AtomicU64,
}

/// Why a manager stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Demoted,
    Removed,
}

impl Post {
    pub(crate) fn new(
        folder: StateFolder,
        saved: SavedMembership,
        materials: TlsMaterials,
        managers: Arc<Managers>,
    ) -> Self {
        let founder_id = AtomicU64::new(saved.raft_id);
        Self { folder, saved, materials, managers, holder: Mutex::default(), founder_id }
    }

    /// The managers in reach and out of reach, where this node is a manager and somebody leads.
    pub(crate) async fn reachability(&self) -> Option<(usize, usize)> {
        self.holder.lock().await.as_ref().and_then(Manager::reachability)
    }

    /// What the manager's figures are made of, where this node is one.
    pub(crate) async fn figures(&self) -> Option<View> {
        self.holder.lock().await.as_ref().map(Manager::figures)
    }

    /// Starts the manager.
    pub(crate) async fn take_up(&self, founding: Option<Founding>) -> Result<(), NodeError> {
        let mut holder = self.holder.lock().await;
        let listen = &self.saved.listen_addr;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| NodeError::system(format!("could not listen on {listen}: {error}")))?;
        let own = self.materials.identity().node_id;
        let remotes = self.managers.list().into_iter().filter(|(node_id, _)| *node_id != own);
        let manager = Manager::start(ManagerConfig {
            raft_dir: self.folder.raft(),
            raft_id: self.founder_id.load(Ordering::Relaxed),
            listener,
            advertise_addr: self.saved.advertise_addr.clone(),
            materials: self.materials.clone(),
            founding,
            remotes: remotes.map(|(_, address)| address).collect(),
        });
        let manager = manager.await.map_err(|error| match error {
            swarm_manager::ManagerError::Join(_) => NodeError::unavailable(error.to_string()),
            other => NodeError::system(other.to_string()),
        })?;
        self.founder_id.store(0, Ordering::Relaxed);
        self.managers.set_local(Some(manager.channel()));
        *holder = Some(manager);
        Ok(())
    }

    /// Waits until this node's manager knows the cluster.
    pub(crate) async fn wait_until_ready(&self) {
        let Some(ready) = self.holder.lock().await.as_ref().map(Manager::ready) else { return };
        if tokio::time::timeout(READY_MAX, ready).await.is_err() {
            warn!("this manager does not hear of the others yet");
        }
    }

    /// Stops the manager for good, perhaps after taking leave of the others.
    pub(crate) async fn give_up(&self, leaves: bool) {
        self.managers.set_local(None);
        let Some(manager) = self.holder.lock().await.take() else { return };
        if leaves {
            match tokio::time::timeout(LEAVE_MAX, manager.leave()).await {
                Ok(Ok(())) => {}
                Ok(Err(status)) => warn!(%status, "the other managers do not let this one go"),
                Err(_) => warn!("the other managers do not answer"),
            }
        }
        manager.stop().await;
    }

    /// Starts and stops the manager as the certificate says, for ever.
    pub(crate) async fn keep(&self) {
        loop {
            let held = self.holder.lock().await.as_ref().map(Manager::removed);
            let Some(removed) = held else {
                self.materials.wait_for(|identity| identity.role == Role::Manager).await;
                self.start().await;
                continue;
            };
            let end = tokio::select! {
                _ = self.materials.wait_for(|identity| identity.role == Role::Worker) => End::Demoted,
                () = removed => End::Removed,
            };
            info!(?end, "this node stops being a manager");
            self.give_up(false).await;
            if let Err(error) = self.forget() {
                warn!(%error, "forgetting the manager's data failed");
            }
            if end == End::Removed {
                let demoted = self.materials.wait_for(|identity| identity.role == Role::Worker);
                // Else it may have been promoted again meanwhile, and asks to be admitted.
                let _ = tokio::time::timeout(ROLE_CHANGE_MAX, demoted).await;
            }
        }
    }

    /// Tries to start the manager until it runs, or the certificate says otherwise.
    async fn start(&self) {
        let mut pause = RETRY_FIRST;
        while self.materials.identity().role == Role::Manager {
            match self.take_up(None).await {
                Ok(()) => return info!("this node is a manager now"),
                Err(error) => warn!(%error, "this node cannot be a manager yet"),
            }
            let demoted = self.materials.wait_for(|identity| identity.role == Role::Worker);
            // Whichever comes first: both are looked at again.
            let _ = tokio::time::timeout(pause, demoted).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// A member that was removed never comes back: the next time this node joins as another one.
    fn forget(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(self.folder.raft()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

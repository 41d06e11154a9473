//! The manager's post on a node: held while the certificate says so, given up when the others remove this manager.
//!
//! ```text
//!   certificate: worker ──> manager: take up (join the group, or go on from the log)
//!                manager ──> worker, or removed by the others: give up, and forget the log
//!   the log cannot be written: give up, keep the log, take up again after a while
//! ```
//!
//! Mirrors the manager half of SwarmKit's `node.Node`.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use swarm_ca::{CertificateFiles, RaftKeys, Renewer, Role, TlsMaterials};
use swarm_manager::{BackupSource, Founding, Manager, ManagerConfig, View};
use swarm_raft::Seed;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tracing::{info, warn};

use crate::connector::Managers;
use crate::error::NodeError;
use crate::state::{Record, StateFolder};

/// The first pause after a manager did not start; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// A node may wait for long until the others can admit it.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A manager that ran for so long before it failed is started again without a pause.
const STEADY: Duration = Duration::from_secs(30);
/// How long the start of a daemon waits for the others; a manager without a quorum starts all the same.
const READY_MAX: Duration = Duration::from_secs(5);
/// A manager alone has nobody to wait for but its own disk.
const REFORM_MAX: Duration = Duration::from_secs(20);
/// A manager that was removed has its new certificate in less; SwarmKit waits for 16 s.
const ROLE_CHANGE_MAX: Duration = Duration::from_secs(5);
/// How long taking leave of the others may take.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// The place of the node's manager.
pub(crate) struct Post {
    folder: StateFolder,
    record: Arc<Record>,
    materials: TlsMaterials,
    files: CertificateFiles,
    renewer: Renewer,
    managers: Arc<Managers>,
    moved: Notify,
    holder: Mutex<Option<Manager>>,
    /// The founder's Raft identity, good for the first start; later ones are told by the log's directory.
    founder_id: AtomicU64,
    /// Whether the next start leaves all other managers behind.
    forced: AtomicBool,
    /// Why there is no manager although there should be one.
    trouble: StdMutex<Option<String>>,
}

/// What a manager begins with.
pub(crate) enum Beginning {
    /// Its own log, or the other managers.
    GoOn,
    /// Nothing: it founds a cluster.
    Found(Box<Founding>),
    /// The state in a backup.
    Revive(Seed),
}

/// Why a manager stops.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Demoted,
    Removed,
    Failed(String),
    Moved,
}

impl Post {
    pub(crate) fn new(
        folder: StateFolder,
        record: Arc<Record>,
        materials: TlsMaterials,
        files: CertificateFiles,
        renewer: Renewer,
        managers: Arc<Managers>,
    ) -> Self {
        let founder_id = AtomicU64::new(record.get().raft_id);
        let forced = AtomicBool::new(record.get().force_new_cluster);
        Self {
            folder,
            record,
            materials,
            files,
            renewer,
            managers,
            moved: Notify::new(),
            holder: Mutex::default(),
            founder_id,
            forced,
            trouble: StdMutex::default(),
        }
    }

    /// The record has another address by now.
    pub(crate) fn address_changed(&self) {
        self.moved.notify_one();
    }

    /// Why this node's manager is down, where it failed.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The managers in reach and out of reach, where this node is a manager and somebody leads.
    pub(crate) async fn reachability(&self) -> Option<(usize, usize)> {
        self.holder.lock().await.as_ref().and_then(Manager::reachability)
    }

    /// Where backups come from, while this node is a manager.
    pub(crate) async fn backups(&self) -> Option<BackupSource> {
        self.holder.lock().await.as_ref().map(Manager::backups)
    }

    /// Waits until this manager is the only one, after it was forced to be.
    pub(crate) async fn wait_until_reformed(&self) -> Result<(), NodeError> {
        let reformed = self.holder.lock().await.as_ref().map(Manager::reformed);
        let Some(reformed) = reformed else { return Err(NodeError::not_a_manager()) };
        tokio::time::timeout(REFORM_MAX, reformed)
            .await
            .map_err(|_| NodeError::unavailable("the new cluster was not ready in time"))
    }

    /// Waits until the cluster that this manager founds is on disk.
    pub(crate) async fn wait_until_founded(&self) -> Result<(), NodeError> {
        let ready = self.holder.lock().await.as_ref().map(Manager::ready);
        let Some(ready) = ready else { return Err(NodeError::not_a_manager()) };
        let ready = tokio::time::timeout(REFORM_MAX, ready).await;
        ready.map_err(|_| NodeError::unavailable("the cluster was not founded in time"))
    }

    /// What the manager's figures are made of, where this node is one.
    pub(crate) async fn figures(&self) -> Option<View> {
        self.holder.lock().await.as_ref().map(Manager::figures)
    }

    /// Starts the manager.
    pub(crate) async fn take_up(&self, beginning: Beginning) -> Result<(), NodeError> {
        let (founding, seed) = match beginning {
            Beginning::GoOn => (None, None),
            Beginning::Found(founding) => (Some(*founding), None),
            Beginning::Revive(seed) => (None, Some(seed)),
        };
        let mut holder = self.holder.lock().await;
        let saved = self.record.get();
        let listen = &saved.listen_addr;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| NodeError::system(format!("could not listen on {listen}: {error}")))?;
        let own = self.materials.identity().node_id;
        let remotes = self.managers.list().into_iter().filter(|(node_id, _)| *node_id != own);
        let manager = Manager::start(ManagerConfig {
            raft_dir: self.folder.raft(),
            raft_id: self.founder_id.load(Ordering::Relaxed),
            listener,
            advertise_addr: saved.advertise_addr.clone(),
            materials: self.materials.clone(),
            files: self.files.clone(),
            renewer: self.renewer.clone(),
            founding,
            seed,
            force_new_cluster: self.forced.swap(false, Ordering::Relaxed),
            remotes: remotes.map(|(_, address)| address).collect(),
        });
        let manager = manager.await.map_err(|error| match error {
            swarm_manager::ManagerError::Join(_) => NodeError::unavailable(error.to_string()),
            other => NodeError::system(causes(&other)),
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
        let mut pause = RETRY_FIRST;
        loop {
            let held = self.holder.lock().await.as_ref().map(|m| (m.removed(), m.failed()));
            let Some((removed, failed)) = held else {
                self.materials.wait_for(|identity| identity.role == Role::Manager).await;
                self.start().await;
                continue;
            };
            let began = Instant::now();
            let end = tokio::select! {
                _ = self.materials.wait_for(|identity| identity.role == Role::Worker) => End::Demoted,
                () = removed => End::Removed,
                failure = failed => End::Failed(failure),
                () = self.moved.notified() => End::Moved,
            };
            if end == End::Moved {
                // The next turn starts it under the new address, with its log.
                self.give_up(false).await;
                continue;
            }
            if let End::Failed(failure) = end {
                pause = if began.elapsed() > STEADY { RETRY_FIRST } else { pause };
                self.give_up_for_now(&failure).await;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
                continue;
            }
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

    /// Stops a manager whose log failed; what it has is kept.
    async fn give_up_for_now(&self, failure: &str) {
        let trouble = format!("{} cannot be used ({failure})", self.folder.raft().display());
        warn!(trouble, "this node's manager has stopped and will be started again");
        self.note_trouble(Some(trouble));
        self.give_up(false).await;
    }

    /// Tries to start the manager until it runs, or the certificate says otherwise.
    async fn start(&self) {
        let mut pause = RETRY_FIRST;
        while self.materials.identity().role == Role::Manager {
            match self.take_up(Beginning::GoOn).await {
                Ok(()) => {
                    info!("this node is a manager now");
                    return self.note_trouble(None);
                }
                Err(error) => {
                    warn!(%error, "this node cannot be a manager yet");
                    // Who was promoted just now and waits to be admitted has no trouble.
                    if self.trouble().is_some() {
                        self.note_trouble(Some(error.to_string()));
                    }
                }
            }
            let demoted = self.materials.wait_for(|identity| identity.role == Role::Worker);
            // Whichever comes first: both are looked at again.
            let _ = tokio::time::timeout(pause, demoted).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        self.note_trouble(None);
    }

    /// A member that was removed never comes back: the next time this node joins as another one. The log goes before
    /// its keys, and at once, as half of one would look damaged.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let raft = self.folder.raft();
        let gone = raft.with_extension("gone");
        unless_absent(std::fs::remove_dir_all(&gone))?;
        unless_absent(std::fs::rename(&raft, &gone))?;
        unless_absent(std::fs::remove_dir_all(&gone))?;
        if self.files.raft_keys() == RaftKeys::default() {
            return Ok(());
        }
        self.files.set_raft_keys(RaftKeys::default()).map_err(io::Error::other)
    }
}

/// What isn't there needs no removal.
fn unless_absent(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// An error with all that caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let cause = cause.to_string();
        // Some errors tell their cause themselves.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

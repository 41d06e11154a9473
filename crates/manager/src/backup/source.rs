//! Where backups come from: any manager that hears of a leader.
//!
//! The read index makes sure that all that was acknowledged before is in it, whichever manager is asked; the state is
//! captured in the order of the log and encoded elsewhere, so that writes don't wait.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use swarm_ca::Identity;
use swarm_raft::RaftNode;
use swarm_store::Store;
use tokio::time::timeout;

use super::{About, Backup, BackupError};
use crate::log_keys::lock_of;

/// A majority answers in less, or there is none.
const READ_MAX: Duration = Duration::from_secs(5);
const NO_LEADER: &str = "the swarm does not have a leader. Make sure more than half of the managers are online, or \
                         stop a manager's daemon and copy the folder \"swarm\" of its data";

/// Makes backups of a running manager's state; clones share it.
#[derive(Clone)]
pub struct BackupSource {
    pub(crate) raft: RaftNode,
    pub(crate) store: Store,
    pub(crate) identity: Identity,
}

impl BackupSource {
    /// The cluster whose state it is.
    pub fn cluster_id(&self) -> &str {
        &self.identity.organization
    }

    /// Takes a backup of everything acknowledged so far.
    ///
    /// # Errors
    /// [`BackupError::NoLeader`], [`BackupError::ExternalCa`].
    pub async fn take(&self) -> Result<Backup, BackupError> {
        let no_leader = || BackupError::NoLeader(NO_LEADER.to_owned());
        let read = timeout(READ_MAX, self.raft.read_index()).await;
        let Ok(Ok(Ok(_))) = read else { return Err(no_leader()) };
        let (at, capture) = self.raft.capture().await.map_err(|_| no_leader())?;
        // Large clusters take a moment.
        let body = tokio::task::spawn_blocking(capture).await.map_err(|_| BackupError::Seal)?;
        let created_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let about = About {
            cluster_id: self.identity.organization.clone(),
            node_id: self.identity.node_id.clone(),
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            index: at.index,
            term: at.term,
        };
        let backup = Backup { about, body };
        let tables = self.store.view();
        let root = tables.cluster().and_then(|cluster| cluster.root_ca.as_ref());
        match root {
            Some(root) if !root.ca_key.is_empty() => Ok(backup),
            _ => Err(BackupError::ExternalCa),
        }
    }

    /// As [`Self::take`], as a file: encrypted with this key, or else with the unlock key where managers are locked.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn file(&self, key: Option<String>) -> Result<(Backup, Vec<u8>), BackupError> {
        let backup = self.take().await?;
        let key = match key {
            Some(key) => Some(key),
            None => self
                .store
                .view()
                .cluster()
                .and_then(|cluster| lock_of(cluster).key)
                .map(|key| key.to_string()),
        };
        // Deriving a key takes its time on purpose.
        let made = tokio::task::spawn_blocking(move || {
            backup.to_file(key.as_deref()).map(|file| (backup, file))
        });
        made.await.map_err(|_| BackupError::Seal)?
    }
}

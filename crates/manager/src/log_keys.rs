//! The keys of this manager's disk: its log is always sealed, and its key file is locked as the cluster wants.
//!
//! ```text
//!   cluster: unlock key ──> key file locked with it ──> the log's key changed: it lay open, or under the old key
//!                                                       pending in the file, seals what is written,
//!                                                       log and snapshot written anew, old key forgotten
//! ```
//!
//! Every manager follows the cluster object for itself. A crash in between goes on where it was: both keys are in the
//! file until nothing on disk needs the old one. Mirrors SwarmKit's `manager.updateKEK` and `RaftDEKManager`.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use swarm_ca::{
    CaError, CertificateFiles, Cipher, Lock, RaftKeys, Renewer, Role, SEALED_FORM, SecretKey,
    UnlockKey,
};
use swarm_proto::v1::Cluster;
use swarm_raft::{RaftNode, SealError, Sealer};
use swarm_store::{Kind, Object as _, Store, Tables};
use tracing::{info, warn};

/// A new key locks nothing before whoever asked for it had the time to read it: were it the only manager and lost its
/// power in between, nobody could ever unlock it.
const TELLING_TIME: Duration = Duration::from_secs(2);
/// What could not be written is tried again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Seals the log with the newest key, and opens what an earlier one sealed while that is still on disk.
#[derive(Clone)]
pub(crate) struct LogSealer {
    keys: Arc<RwLock<Ciphers>>,
}

struct Ciphers {
    newest: Arc<Cipher>,
    before: Option<Arc<Cipher>>,
    /// Whether there may be records of before logs were sealed.
    is_plain_read: bool,
}

impl LogSealer {
    /// A sealer with the keys in the key file, which get a first one where there is none.
    pub(crate) fn prepare(files: &CertificateFiles, raft_dir: &Path) -> Result<Self, CaError> {
        let mut keys = files.raft_keys();
        if keys.current.is_none() && keys.pending.is_none() {
            let first = Some(SecretKey::generate());
            match swarm_raft::has_log(raft_dir) {
                true => keys.pending = first,
                false => keys.current = first,
            }
            files.set_raft_keys(keys.clone())?;
        }
        let cipher = |key: SecretKey| Arc::new(Cipher::new(key));
        let is_plain_read = keys.current.is_none();
        let (newest, before) = match keys.pending {
            Some(pending) => (Some(pending), keys.current),
            None => (keys.current, None),
        };
        let newest = cipher(newest.ok_or(CaError::MalformedKey)?);
        let ciphers = Ciphers { newest, before: before.map(cipher), is_plain_read };
        Ok(Self { keys: Arc::new(RwLock::new(ciphers)) })
    }

    /// Seals with this key from now on.
    fn turn_to(&self, key: SecretKey) {
        let mut keys = self.write();
        let next = Arc::new(Cipher::new(key));
        keys.before = Some(std::mem::replace(&mut keys.newest, next));
    }

    /// Forgets what opened before: nothing on disk needs it any more.
    fn settle(&self) {
        let mut keys = self.write();
        keys.before = None;
        keys.is_plain_read = false;
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ciphers> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sealer for LogSealer {
    fn seal(&self, plain: Vec<u8>) -> Vec<u8> {
        let newest = self.keys.read().unwrap_or_else(PoisonError::into_inner).newest.clone();
        newest.seal(&plain)
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if keys.is_plain_read && sealed.first() != Some(&SEALED_FORM) {
            return Ok(sealed.to_vec());
        }
        let mut known = [Some(&keys.newest), keys.before.as_ref()].into_iter().flatten();
        known.find_map(|cipher| cipher.open(sealed)).ok_or(SealError::UnknownKey)
    }
}

/// Keeps the key file as the cluster object says.
pub(crate) struct KeyKeeper {
    pub(crate) store: Store,
    pub(crate) files: CertificateFiles,
    pub(crate) raft: RaftNode,
    pub(crate) sealer: LogSealer,
    pub(crate) renewer: Renewer,
}

impl KeyKeeper {
    /// Follows the cluster object until the future is dropped.
    pub(crate) async fn run(self) {
        let (mut tables, mut watch) = self.store.view_and_watch(&[Kind::Cluster]);
        loop {
            if self.is_told_of_a_new_key(&tables) {
                tokio::time::sleep(TELLING_TIME).await;
                tables = self.store.view();
            }
            match self.follow(tables.cluster().map(AsRef::as_ref)).await {
                Ok(()) => tables = watch.next().await.tables,
                Err(error) => {
                    warn!(%error, "the keys on this manager's disk cannot be changed");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    tables = self.store.view();
                }
            }
        }
    }

    fn is_told_of_a_new_key(&self, tables: &Tables) -> bool {
        let told = tables.cluster().map(|cluster| lock_of(cluster));
        told.is_some_and(|told| told.key.is_some() && self.files.lock().is_replaced_by(&told))
    }

    async fn follow(&self, cluster: Option<&Cluster>) -> Result<(), CaError> {
        let (present, mut keys) = (self.files.lock(), self.files.raft_keys());
        if let Some(told) = cluster.map(lock_of).filter(|told| present.is_replaced_by(told)) {
            let is_locked = told.key.is_some();
            info!(locked = is_locked, version = told.version, "this manager's lock changes");
            keys.needs_rotation |= is_locked;
            self.files.set_lock_and_raft_keys(told, keys.clone())?;
            if present.key.is_none() {
                // The TLS key lay open on disk until now.
                self.renewer.renew_now();
            }
        }
        while keys.needs_rotation || keys.pending.is_some() {
            self.rotate(keys).await?;
            keys = self.files.raft_keys();
        }
        Ok(())
    }

    /// Changes the log's key, or goes on where a change was interrupted.
    async fn rotate(&self, keys: RaftKeys) -> Result<(), CaError> {
        // A change that was interrupted is finished with the key that it began with, which may have lain open.
        let is_wanted_again = keys.pending.is_some() && keys.needs_rotation;
        let pending = match keys.pending {
            Some(pending) => pending,
            None => {
                let pending = SecretKey::generate();
                let next = RaftKeys {
                    current: keys.current,
                    pending: Some(pending.clone()),
                    needs_rotation: false,
                };
                self.files.set_raft_keys(next)?;
                self.sealer.turn_to(pending.clone());
                pending
            }
        };
        match self.raft.reseal().await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                warn!(%error, "the log cannot be sealed anew yet");
                return Err(CaError::Unsealed);
            }
            // The member has stopped: the next start goes on.
            Err(_) => return Err(CaError::Unsealed),
        }
        let next =
            RaftKeys { current: Some(pending), pending: None, needs_rotation: is_wanted_again };
        self.files.set_raft_keys(next)?;
        self.sealer.settle();
        info!("the Raft log is sealed with a new key");
        Ok(())
    }
}

/// The lock that managers of the cluster have.
pub(crate) fn lock_of(cluster: &Cluster) -> Lock {
    let key = cluster.unlock_keys.iter().find(|key| key.subsystem == Role::Manager.as_str());
    let key = key.and_then(|key| SecretKey::from_slice(&key.key)).map(UnlockKey);
    Lock { key, version: cluster.version() }
}

//! What a new cluster is made of: a node that never was in it, with a certificate of the backup's own authority, and the
//! backup's state without the managers of old.
//!
//! The node gets an ID of its own, since the one that made the backup may still be there. `reform` then demotes the
//! managers of old, and a new log gets its own keys.

use prost::Message as _;
use swarm_ca::{Identity, Lock, Role, RootCa};
use swarm_proto::id::new_id;
use swarm_proto::v1::ClusterSnapshot;
use swarm_raft::Seed;

use super::{Backup, BackupError};
use crate::log_keys::lock_of;

/// A manager to be, out of a backup.
#[derive(Debug, Clone)]
pub struct Revival {
    /// Who the new manager is.
    pub identity: Identity,
    /// The cluster's root, with its key.
    pub root_ca: RootCa,
    /// What its disk is locked with from the beginning.
    pub lock: Lock,
    /// What its log begins with.
    pub seed: Seed,
    /// Its Raft identity, which no member of old had.
    pub raft_id: u64,
}

impl Revival {
    /// Prepares everything that a new manager needs; nothing is written.
    ///
    /// # Errors
    /// [`BackupError::Authority`], [`BackupError::ExternalCa`], [`BackupError::Content`].
    pub fn prepare(backup: &Backup) -> Result<Self, BackupError> {
        let cluster = backup.cluster()?;
        let lock = lock_of(&cluster);
        let root = cluster.root_ca.ok_or(BackupError::Content)?;
        let root_ca = RootCa::from_cluster(&root).map_err(BackupError::Authority)?;
        if !root_ca.can_sign() {
            return Err(BackupError::ExternalCa);
        }
        let mut snapshot = backup.snapshot()?;
        let members = snapshot.membership.take().unwrap_or_default();
        let mut removed = members.removed;
        removed.extend(members.members.iter().map(|member| member.raft_id));
        let raft_id = fresh_id(&removed);
        snapshot.membership = Some(ClusterSnapshot { members: Vec::new(), removed });
        let identity = Identity {
            node_id: new_id(),
            role: Role::Manager,
            organization: backup.about.cluster_id.clone(),
        };
        let seed = Seed { at: backup.position(), body: snapshot.encode_to_vec() };
        Ok(Self { identity, root_ca, lock, seed, raft_id })
    }
}

/// Positive as a signed number, as SwarmKit's are.
fn fresh_id(used: &[u64]) -> u64 {
    loop {
        let id = rand::random_range(1..=i64::MAX.unsigned_abs());
        if !used.contains(&id) {
            return id;
        }
    }
}

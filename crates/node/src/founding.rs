//! `docker swarm init`: a cluster with this node as its first manager.
//!
//! Mirrors moby's `Cluster.Init`. A cluster that is made of what another one left is in `recovery`.

use std::time::Duration;

use swarm_ca::{CaError, DEFAULT_NODE_CERTIFICATE_EXPIRY, Identity, Lock, Role, RootCa, UnlockKey};
use swarm_manager::Founding;
use swarm_proto::id::new_id;
use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::ClusterSpec;
use tracing::info;

use crate::error::NodeError;
use crate::moving;
use crate::node::Node;
use crate::options::InitOptions;
use crate::post::Beginning;
use crate::state::SavedMembership;

/// How long a founder waits for its own agent's first session.
const FIRST_SESSION_MAX: Duration = Duration::from_secs(2);

impl Node {
    /// Founds a cluster with this node as its manager; answers the node's ID.
    ///
    /// # Errors
    /// Docker's refusals; nothing is kept then.
    pub async fn init(&self, options: InitOptions) -> Result<String, NodeError> {
        let _changing = self.shared.changing.lock().await;
        if options.force_new_cluster {
            return self.force_new_cluster(&options).await;
        }
        self.refuse_member()?;
        let addresses = self.shared.config.resolve(&options.addresses(), true).await?;
        let mut saved = moving::membership_at(&addresses);
        saved.raft_id = raft_id();
        let system = |error: swarm_ca::CaError| NodeError::system(error.to_string());
        let identity = Identity { node_id: new_id(), role: Role::Manager, organization: new_id() };
        let expiry = certificate_expiry(&options.spec);
        let founding = Founding {
            cluster_id: identity.organization.clone(),
            root_ca: RootCa::create().map_err(system)?,
            unlock_key: locks(&options.spec).then(UnlockKey::generate),
            spec: options.spec,
            availability: options.availability,
            default_address_pool: options.default_address_pool,
            subnet_size: options.subnet_size,
            data_path_port: options.data_path_port,
        };
        founding.check().map_err(NodeError::invalid)?;
        let lock = Lock { key: founding.unlock_key.clone(), version: 0 };
        let root_ca = founding.root_ca.clone();
        let issued = root_ca.issue_for(&identity, expiry).map_err(system)?;
        let beginning = Beginning::Found(Box::new(founding));
        self.establish(saved, lock, &root_ca, issued, beginning).await?;
        info!(node.id = identity.node_id, "a cluster was founded");
        Ok(identity.node_id)
    }

    /// Makes this node the first manager of a cluster, with these addresses, lock, root, certificate and key; nothing is
    /// kept where that fails. The caller holds `changing`.
    pub(crate) async fn establish(
        &self,
        saved: SavedMembership,
        lock: Lock,
        root_ca: &RootCa,
        (key, chain): (Vec<u8>, Vec<u8>),
        beginning: Beginning,
    ) -> Result<(), NodeError> {
        let system = |error: CaError| NodeError::system(error.to_string());
        let files = self.files();
        files.begin_with(lock);
        files.save_root(root_ca).map_err(system)?;
        files.save_node(&chain, &key).map_err(system)?;
        if let Err(error) = self.start(saved, files, beginning).await {
            self.clear();
            return Err(error);
        }
        self.await_first_session().await;
        Ok(())
    }

    /// A founder's own session begins in milliseconds; `docker node ls` is to show it ready.
    pub(crate) async fn await_first_session(&self) {
        // A node that takes longer is a manager all the same.
        let _ = tokio::time::timeout(FIRST_SESSION_MAX, self.registered()).await;
    }
}

fn certificate_expiry(spec: &ClusterSpec) -> Duration {
    let expiry = spec.ca_config.as_ref().and_then(|config| config.node_cert_expiry.as_ref());
    expiry.map_or(DEFAULT_NODE_CERTIFICATE_EXPIRY, to_duration)
}

fn locks(spec: &ClusterSpec) -> bool {
    spec.encryption_config.is_some_and(|config| config.auto_lock_managers)
}

/// A Raft identity: any number but 0, never used before in the group.
fn raft_id() -> u64 {
    rand::random::<u64>().max(1)
}

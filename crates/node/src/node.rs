//! The node's handle: what `docker swarm init`, `join` and `leave` do, and what `docker info` tells of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::Ipv4Net;
use swarm_agent::Executor;
use swarm_ca::{
    CaError, CertificateFiles, CertificateRequest, Credentials, DEFAULT_NODE_CERTIFICATE_EXPIRY,
    Identity, JoinToken, Lock, Role, RootCa, SecretKey, UnlockKey, cluster_lock, download_root_ca,
    request_certificate, rpc_error_text,
};
use swarm_manager::{BackupFolder, Founding, View};
use swarm_proto::Channel;
use swarm_proto::id::new_id;
use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::ca_client::CaClient;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::{ClusterSpec, GetUnlockKeyRequest};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::addresses::{Addresses, Given, MANAGER_PORT, resolve, split};
use crate::error::NodeError;
use crate::membership::Membership;
use crate::moving;
use crate::post::Beginning;
use crate::reattach::Reattachment;
use crate::recovery;
use crate::state::{SavedMembership, StateFolder};

/// How long a join may take before the answer says that it goes on in the background; moby's `swarmConnectTimeout`.
const JOIN_ANSWER_MAX: Duration = Duration::from_secs(20);

/// How long a founder waits for its own agent's first session.
const FIRST_SESSION_MAX: Duration = Duration::from_secs(2);

/// The first pause after a membership did not start with its daemon; it doubles up to [`RESTART_MAX`].
const RESTART_FIRST: Duration = Duration::from_secs(2);
/// Most reasons need somebody to do something.
const RESTART_MAX: Duration = Duration::from_secs(30);

/// What a node needs to know of its daemon.
pub struct NodeConfig {
    /// Where the membership is kept, normally `<data-root>/swarm`.
    pub folder: PathBuf,
    /// What runs tasks.
    pub executor: Arc<dyn Executor>,
    /// Address or interface to advertise where a command names none (`--swarm-default-advertise-addr`).
    pub default_advertise: String,
    /// The engine's own subnets, which are never advertised.
    pub managed_subnets: Vec<Ipv4Net>,
    /// Where a manager keeps backups by itself; none where it keeps none.
    pub backups: Option<BackupFolder>,
}

/// What `docker swarm init` asks for.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// Where the manager listens; empty for the default.
    pub listen_addr: String,
    /// What others dial; empty to find it.
    pub advertise_addr: String,
    /// The data path's address; empty for the advertised one.
    pub data_path_addr: String,
    /// The data path's UDP port.
    pub data_path_port: u32,
    /// Pools of overlay subnets.
    pub default_address_pool: Vec<String>,
    /// Prefix length of overlay subnets.
    pub subnet_size: u32,
    /// This node's availability.
    pub availability: Availability,
    /// The cluster's settings.
    pub spec: ClusterSpec,
    /// Make a new cluster of this one manager out of its data, and leave all other managers behind.
    pub force_new_cluster: bool,
}

/// What `swarm restore` asks for.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Where the manager listens; empty for the default.
    pub listen_addr: String,
    /// What others dial; empty to find it.
    pub advertise_addr: String,
    /// The data path's address; empty for the advertised one.
    pub data_path_addr: String,
    /// The backup's bytes.
    pub file: Vec<u8>,
    /// What the backup was encrypted with.
    pub key: Option<String>,
}

/// What `docker swarm join` asks for.
#[derive(Debug, Clone, Default)]
pub struct JoinOptions {
    /// Where the node listens as a manager; empty for the default.
    pub listen_addr: String,
    /// What others dial; empty to find it.
    pub advertise_addr: String,
    /// The data path's address; empty for the advertised one.
    pub data_path_addr: String,
    /// Managers to join through.
    pub remote_addrs: Vec<String>,
    /// The token, which decides the role.
    pub join_token: String,
    /// This node's availability.
    pub availability: Availability,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalState {
    /// Not a member.
    #[default]
    Inactive,
    /// Joining.
    Pending,
    /// A member.
    Active,
    /// A member that could not be started.
    Error,
    /// A manager that waits for the key that unlocks it.
    Locked,
}

/// What a node knows of its membership without asking.
#[derive(Debug, Clone, Default)]
pub struct NodeStatus {
    /// Where it stands.
    pub state: LocalState,
    /// Its ID; empty where it is no member.
    pub node_id: String,
    /// Its advertised IP address; may be empty.
    pub node_addr: String,
    /// Whether it is a manager.
    pub is_manager: bool,
    /// Why it could not be started.
    pub error: String,
    /// The managers that it knows: node ID and `ip:port`.
    pub managers: Vec<(String, String)>,
}

/// A node; clones share it.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    config: NodeConfig,
    folder: StateFolder,
    /// Held while the membership changes, so that two commands don't.
    changing: Mutex<()>,
    current: StdMutex<Current>,
}

#[derive(Default)]
struct Current {
    membership: Option<Membership>,
    pending: bool,
    error: String,
    /// What starts once the key is given.
    locked: Option<SavedMembership>,
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
        let given = Given {
            listen: &options.listen_addr,
            advertise: &options.advertise_addr,
            data_path: &options.data_path_addr,
            default_advertise: &self.shared.config.default_advertise,
            managed: &self.shared.config.managed_subnets,
        };
        let mut saved = saved(&resolve(&given, true)?);
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
        let files = self.files();
        files.begin_with(Lock { key: founding.unlock_key.clone(), version: 0 });
        let (key, chain) = founding.root_ca.issue_for(&identity, expiry).map_err(system)?;
        files.save_root(&founding.root_ca).map_err(system)?;
        files.save_node(&chain, &key).map_err(system)?;
        let founded = self.start(saved, files, Beginning::Found(Box::new(founding))).await;
        if let Err(error) = founded {
            self.clear();
            return Err(error);
        }
        // The founder's own session begins in milliseconds; `docker node ls` is to show it ready.
        let _ = tokio::time::timeout(FIRST_SESSION_MAX, self.registered()).await;
        info!(node.id = identity.node_id, "a cluster was founded");
        Ok(identity.node_id)
    }

    /// Goes on as the only manager of a new cluster with the data of the old one; the caller holds `changing`.
    async fn force_new_cluster(&self, options: &InitOptions) -> Result<String, NodeError> {
        let folder = &self.shared.folder;
        let before = folder.load().map_err(|error| NodeError::system(error.to_string()))?;
        let before = before.ok_or_else(NodeError::nothing_to_force)?;
        if self.current().locked.is_some() {
            return Err(NodeError::locked());
        }
        // With what opens its disk, where it is locked.
        let files = self.current().membership.as_ref().map(Membership::files);
        let files = files.unwrap_or_else(|| self.files());
        let identity = recovery::manager_identity(&files)?;
        let addresses = recovery::addresses(options, &before, &self.shared.config)?;
        let membership = self.current().membership.take();
        if let Some(membership) = membership {
            membership.stop().await;
        }
        let forced = recovery::forced(&identity.node_id, &addresses);
        if let Err(error) = self.start(forced, files.clone(), Beginning::GoOn).await {
            warn!(%error, "no new cluster was made; this node goes on as before");
            if let Err(error) = self.start(before, files, Beginning::GoOn).await {
                self.current().error = error.to_string();
            }
            return Err(error);
        }
        let _ = tokio::time::timeout(FIRST_SESSION_MAX, self.registered()).await;
        info!(node.id = identity.node_id, "a new cluster was made of this manager's data");
        Ok(identity.node_id)
    }

    /// The state of this manager's cluster as a file, encrypted with this key, or else with the unlock key where managers
    /// are locked.
    ///
    /// # Errors
    /// Where this node is no manager, nobody leads, or a backup would not be enough for a new cluster.
    pub async fn backup(&self, key: Option<String>) -> Result<Vec<u8>, NodeError> {
        self.control()?;
        let post = self.current().membership.as_ref().map(Membership::post);
        let source = match post {
            Some(post) => post.backups().await,
            None => None,
        };
        let source = source.ok_or_else(NodeError::worker)?;
        let (_, file) =
            source.file(key).await.map_err(|error| NodeError::unavailable(error.to_string()))?;
        Ok(file)
    }

    /// Makes this node the only manager of a new cluster with the state in a backup; answers the node's ID.
    ///
    /// # Errors
    /// Where this node is a member, or the backup or its key is wrong; nothing is kept then.
    pub async fn restore(&self, options: RestoreOptions) -> Result<String, NodeError> {
        let _changing = self.shared.changing.lock().await;
        self.refuse_member()?;
        let given = Given {
            listen: &options.listen_addr,
            advertise: &options.advertise_addr,
            data_path: &options.data_path_addr,
            default_advertise: &self.shared.config.default_advertise,
            managed: &self.shared.config.managed_subnets,
        };
        let addresses = resolve(&given, true)?;
        let revival = recovery::revival(options.file, options.key).await?;
        let node_id = revival.identity.node_id.clone();
        let mut forced = recovery::forced(&node_id, &addresses);
        forced.raft_id = revival.raft_id;
        let system = |error: swarm_ca::CaError| NodeError::system(error.to_string());
        let files = self.files();
        files.begin_with(revival.lock);
        let (key, chain) = revival.root_ca.issue(&revival.identity).map_err(system)?;
        files.save_root(&revival.root_ca).map_err(system)?;
        files.save_node(&chain, &key).map_err(system)?;
        if let Err(error) = self.start(forced, files, Beginning::Revive(revival.seed)).await {
            self.clear();
            return Err(error);
        }
        let _ = tokio::time::timeout(FIRST_SESSION_MAX, self.registered()).await;
        info!(node.id = node_id, "a new cluster was made of a backup");
        Ok(node_id)
    }

    /// Joins a cluster. The token's digest of the root CA is verified before its secret leaves this node.
    ///
    /// # Errors
    /// Docker's refusals; nothing is kept then, but where a manager is slow the join goes on in the background.
    pub async fn join(&self, options: JoinOptions) -> Result<(), NodeError> {
        let changing = self.shared.changing.lock().await;
        if options.remote_addrs.iter().all(String::is_empty) {
            self.refuse_member()?;
            return Err(NodeError::invalid("at least 1 remote address is required to join"));
        }
        let token = JoinToken::parse(&options.join_token);
        if let Ok(token) = &token
            && let Some(reattachment) = self.reattachment(token)
        {
            return self.reattach(&reattachment, &options.remote_addrs).await;
        }
        self.refuse_member()?;
        let token = token.map_err(|_| NodeError::invalid("invalid join token"))?;
        let given = Given {
            listen: &options.listen_addr,
            advertise: &options.advertise_addr,
            data_path: &options.data_path_addr,
            default_advertise: &self.shared.config.default_advertise,
            managed: &self.shared.config.managed_subnets,
        };
        let saved = saved(&resolve(&given, false)?);
        drop(changing);
        let node = self.clone();
        // Once begun, a join goes on though its caller leaves.
        let joining = tokio::spawn(async move { node.join_now(options, token, saved).await });
        match tokio::time::timeout(JOIN_ANSWER_MAX, joining).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(NodeError::system("joining was interrupted")),
            Err(_) => Err(NodeError::join_timeout()),
        }
    }

    fn reattachment(&self, token: &JoinToken) -> Option<Reattachment> {
        Reattachment::of(self.current().membership.as_ref()?, token)
    }

    /// Shows a worker whose managers are gone another one; the caller holds `changing`.
    async fn reattach(
        &self,
        reattachment: &Reattachment,
        remotes: &[String],
    ) -> Result<(), NodeError> {
        let remotes: Vec<String> = remotes.iter().filter_map(|address| dialled(address)).collect();
        let address = reattachment.find(&remotes).await?;
        match &self.current().membership {
            Some(membership) => {
                membership.reattach(&address).map_err(|error| NodeError::system(error.to_string()))
            }
            None => Err(NodeError::no_swarm()),
        }
    }

    async fn join_now(
        &self,
        options: JoinOptions,
        token: JoinToken,
        saved: SavedMembership,
    ) -> Result<(), NodeError> {
        let _changing = self.shared.changing.lock().await;
        self.refuse_member()?;
        self.current().pending = true;
        let joined = self.join_through_any(&options, &token, saved).await;
        self.current().pending = false;
        if joined.is_err() {
            self.clear();
        }
        joined
    }

    async fn join_through_any(
        &self,
        options: &JoinOptions,
        token: &JoinToken,
        saved: SavedMembership,
    ) -> Result<(), NodeError> {
        let mut failed = NodeError::invalid("at least 1 remote address is required to join");
        for address in options.remote_addrs.iter().filter(|address| !address.is_empty()) {
            let Some(address) = dialled(address) else {
                failed = NodeError::invalid(format!("invalid remote address {address}"));
                continue;
            };
            match self.join_through(&address, options, token, saved.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn join_through(
        &self,
        address: &str,
        options: &JoinOptions,
        token: &JoinToken,
        mut saved: SavedMembership,
    ) -> Result<(), NodeError> {
        let refused = |error: swarm_ca::CaError| NodeError::unavailable(error.to_string());
        let root = download_root_ca(address, token.digest()).await.map_err(refused)?;
        let channel =
            swarm_ca::connect(address, Credentials::Joining(root.clone())).map_err(refused)?;
        let request = CertificateRequest {
            token: options.join_token.clone(),
            availability: options.availability.into(),
        };
        let issued = request_certificate(channel, &root, &request).await.map_err(refused)?;
        let lock = match issued.certificate.identity().role {
            Role::Worker => Lock::default(),
            Role::Manager => {
                let credentials = Credentials::Member(issued.materials(&root).map_err(refused)?);
                let channel = swarm_ca::connect(address, credentials).map_err(refused)?;
                cluster_lock(channel).await.map_err(refused)?
            }
        };
        let files = self.files();
        let system = |error: swarm_ca::CaError| NodeError::system(error.to_string());
        files.save_root(&root).map_err(system)?;
        issued.save(&files, lock).map_err(system)?;
        saved.managers = vec![(String::new(), address.to_owned())];
        self.start(saved, files, Beginning::GoOn).await?;
        self.registered().await;
        Ok(())
    }

    /// Waits for the agent's first session.
    async fn registered(&self) {
        let registered = self.current().membership.as_ref().map(Membership::registered);
        if let Some(mut registered) = registered {
            // The sender ends only with the membership, and then there is nothing to wait for.
            let _ = registered.wait_for(|registered| *registered).await;
        }
    }

    /// Leaves the cluster and forgets everything about it.
    ///
    /// # Errors
    /// Where the node is no member, or is a manager and `force` is not set.
    pub async fn leave(&self, force: bool) -> Result<(), NodeError> {
        let _changing = self.shared.changing.lock().await;
        let post = {
            let current = self.current();
            match &current.membership {
                Some(membership) => {
                    let post = membership.post();
                    (membership.is_manager() || post.trouble().is_some()).then_some(post)
                }
                None if current.locked.is_some() && force => None,
                None if current.locked.is_some() => return Err(NodeError::leaves_locked()),
                None if current.error.is_empty() => return Err(NodeError::no_swarm()),
                None if !force => return Err(NodeError::leaves_broken(&current.error)),
                None => None,
            }
        };
        if let Some(post) = post.filter(|_| !force) {
            return Err(manager_leaves(post.reachability().await));
        }
        let membership = self.current().membership.take();
        if let Some(membership) = membership {
            membership.leave().await;
        }
        self.shared.config.executor.leave().await;
        self.clear();
        info!("this node left its cluster");
        Ok(())
    }

    /// Unlocks a manager that waits for its key, and starts its membership.
    ///
    /// # Errors
    /// Docker's refusals; the manager stays locked then.
    pub async fn unlock(&self, key: &str) -> Result<(), NodeError> {
        let _changing = self.shared.changing.lock().await;
        let Some(saved) = self.current().locked.clone() else {
            return Err(self.control().err().unwrap_or_else(NodeError::not_locked));
        };
        let key: UnlockKey =
            key.trim().parse().map_err(|error: CaError| NodeError::invalid(error.to_string()))?;
        let files = self.files();
        files.unlock(&key).map_err(|error| match error {
            CaError::InvalidUnlockKey => NodeError::wrong_key(),
            other => NodeError::system(other.to_string()),
        })?;
        self.start(saved, files, Beginning::GoOn).await.map_err(|error| {
            NodeError::system(format!("swarm component could not be started: {error}"))
        })?;
        info!("this manager was unlocked");
        Ok(())
    }

    /// The key that unlocks managers as a person keeps it; empty where they are not locked.
    ///
    /// # Errors
    /// Docker's refusals where this node is no manager, and the leader's.
    pub async fn unlock_key(&self) -> Result<String, NodeError> {
        let own = self.current().membership.as_ref().and_then(Membership::unlock_key);
        let asked = CaClient::new(self.control()?).get_unlock_key(GetUnlockKeyRequest {}).await;
        let key = match (asked, own) {
            (Ok(answer), _) => {
                SecretKey::from_slice(&answer.into_inner().unlock_key).map(UnlockKey)
            }
            // Nobody leads, perhaps because the others are locked: it is with this key that they were.
            (Err(_), Some(own)) => Some(own),
            (Err(status), None) => return Err(NodeError::unavailable(rpc_error_text(&status))),
        };
        Ok(key.map(|key| key.to_string()).unwrap_or_default())
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
                error: membership.post().trouble().unwrap_or_default(),
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

    async fn start(
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

    fn refuse_member(&self) -> Result<(), NodeError> {
        let current = self.current();
        let is_member = current.membership.is_some() || current.locked.is_some();
        match is_member || current.pending || !current.error.is_empty() {
            true => Err(NodeError::already_in_swarm()),
            false => Ok(()),
        }
    }

    fn clear(&self) {
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
    fn files(&self) -> CertificateFiles {
        CertificateFiles::in_state(self.shared.folder.root())
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn certificate_expiry(spec: &ClusterSpec) -> Duration {
    let expiry = spec.ca_config.as_ref().and_then(|config| config.node_cert_expiry.as_ref());
    expiry.map_or(DEFAULT_NODE_CERTIFICATE_EXPIRY, to_duration)
}

fn locks(spec: &ClusterSpec) -> bool {
    spec.encryption_config.is_some_and(|config| config.auto_lock_managers)
}

pub(crate) fn saved(addresses: &Addresses) -> SavedMembership {
    let mut saved = SavedMembership::new(
        addresses.listen.to_string(),
        addresses.advertise.map(|address| address.to_string()).unwrap_or_default(),
        addresses.data_path.map(|address| address.to_string()).unwrap_or_default(),
    );
    saved.advertise_interface = moving::interface_of(addresses.advertise);
    saved
}

/// What to dial for a remote address as users write it.
fn dialled(address: &str) -> Option<String> {
    let (host, port) = split(address, MANAGER_PORT)?;
    match host.contains(':') {
        true => Some(format!("[{host}]:{port}")),
        false => Some(format!("{host}:{port}")),
    }
}

fn host_of(address: &str) -> String {
    split(address, MANAGER_PORT).map(|(host, _)| host.to_owned()).unwrap_or_default()
}

/// A Raft identity: any number but 0, never used before in the group.
fn raft_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// Why a manager does not leave without being forced; `managers` are those in reach and those out of reach, none
/// where nobody leads.
fn manager_leaves(managers: Option<(usize, usize)>) -> NodeError {
    let mut text =
        "You are attempting to leave the swarm on a node that is participating as a manager. "
            .to_owned();
    match managers {
        None => text += "Doing so may lose the consensus of your cluster. ",
        Some((1, 0)) => {
            text += "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ";
            return NodeError::unavailable(text);
        }
        Some((reachable, unreachable)) if reachable <= unreachable + 2 => {
            text += &format!(
                "Removing this node leaves {} managers out of {}. Without a Raft quorum your swarm will be inaccessible. ",
                reachable.saturating_sub(1),
                reachable + unreachable
            );
        }
        Some(_) => {}
    }
    text += "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.";
    NodeError::unavailable(text)
}

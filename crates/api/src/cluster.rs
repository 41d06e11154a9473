//! The border to this node's membership in a swarm.
//!
//! Implemented by the room that runs managers and agents. Reading and changing the cluster's objects is not part of
//! it: that goes through the control service, whose channel [`Cluster::control`] hands out.

use async_trait::async_trait;
use swarm_proto::Channel;
use swarm_proto::v1;

use crate::error::{ApiError, Class};

/// A refusal of the cluster: Docker's message and the class that decides the HTTP status.
pub type ClusterError = ApiError;

/// What `docker swarm init` asks for.
#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    /// Where the manager listens, `address:port`; empty for the default.
    pub listen_addr: String,
    /// What other nodes dial: an address, an interface or `address:port`; empty to find it.
    pub advertise_addr: String,
    /// Address or interface of the data path; empty for the advertised address.
    pub data_path_addr: String,
    /// UDP port of the data path; 0 for 4789.
    pub data_path_port: u32,
    /// Pools that overlay subnets are cut from, in CIDR notation.
    pub default_addr_pool: Vec<String>,
    /// Prefix length of those subnets; 0 for the default.
    pub subnet_size: u32,
    /// Make a new cluster out of this manager's state.
    pub force_new_cluster: bool,
    /// Encrypt the manager's keys at rest.
    pub auto_lock_managers: bool,
    /// This node's availability.
    pub availability: v1::node_spec::Availability,
    /// The cluster's specification, complete with defaults.
    pub spec: v1::ClusterSpec,
}

/// What `docker swarm join` asks for.
#[derive(Debug, Clone, Default)]
pub struct JoinRequest {
    /// Where the node listens once it is a manager; empty for the default.
    pub listen_addr: String,
    /// What other nodes dial; empty to find it.
    pub advertise_addr: String,
    /// Address or interface of the data path; empty for the advertised address.
    pub data_path_addr: String,
    /// Managers to join through.
    pub remote_addrs: Vec<String>,
    /// The secret that decides the role.
    pub join_token: String,
    /// This node's availability.
    pub availability: v1::node_spec::Availability,
}

/// What `swarm restore` asks for.
#[derive(Clone, Default)]
pub struct RestoreRequest {
    /// Where the manager listens; empty for the default.
    pub listen_addr: String,
    /// What other nodes dial; empty to find it.
    pub advertise_addr: String,
    /// Address or interface of the data path; empty for the advertised address.
    pub data_path_addr: String,
    /// The backup's bytes.
    pub file: Vec<u8>,
    /// What the backup was encrypted with.
    pub key: Option<String>,
}

/// This node's state, as `docker info` names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LocalState {
    /// Not part of a swarm.
    #[default]
    Inactive,
    /// Joining.
    Pending,
    /// A member.
    Active,
    /// A member that cannot work.
    Error,
    /// A manager that waits for its unlock key.
    Locked,
}

impl LocalState {
    /// The name in JSON and in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Error => "error",
            Self::Locked => "locked",
        }
    }
}

/// A manager that this node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteManager {
    /// Its node ID.
    pub node_id: String,
    /// Where it listens, `address:port`.
    pub addr: String,
}

/// What this node knows of its own membership without asking anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Whether it is a member.
    pub state: LocalState,
    /// Its node ID, empty outside a swarm.
    pub node_id: String,
    /// Its advertised address without a port.
    pub node_addr: String,
    /// Whether it is a manager whose control service answers.
    pub control_available: bool,
    /// Why it cannot work, empty if it can.
    pub error: String,
    /// The managers that it knows.
    pub remote_managers: Vec<RemoteManager>,
}

/// One member's life in a swarm.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Starts a new swarm; the answer is this node's ID.
    async fn init(&self, request: InitRequest) -> Result<String, ClusterError>;

    /// Joins a swarm.
    async fn join(&self, request: JoinRequest) -> Result<(), ClusterError>;

    /// Leaves the swarm.
    async fn leave(&self, force: bool) -> Result<(), ClusterError>;

    /// The cluster's state as a file, encrypted with this key, or with the unlock key where managers are locked.
    async fn backup(&self, key: Option<String>) -> Result<Vec<u8>, ClusterError>;

    /// Makes a new swarm with the state in a backup; the answer is this node's ID.
    async fn restore(&self, request: RestoreRequest) -> Result<String, ClusterError>;

    /// Unlocks a locked manager.
    async fn unlock(&self, key: String) -> Result<(), ClusterError>;

    /// The key that unlocks managers; empty where they are not locked.
    async fn unlock_key(&self) -> Result<String, ClusterError>;

    /// What this node knows of its own membership; cheap and never blocking.
    fn status(&self) -> ClusterStatus;

    /// A channel to the cluster's control and logs services; refused with Docker's words on other nodes.
    fn control(&self) -> Result<Channel, ClusterError>;
}

/// The refusals that every implementation of [`Cluster`] shares, in Docker's words.
pub mod refusal {
    use super::{ApiError, Class};

    /// The node is not part of a swarm and was asked for the cluster's objects.
    pub fn not_a_manager() -> ApiError {
        unavailable(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
             node to swarm and try again.",
        )
    }

    /// The node is a worker and was asked for the cluster's objects.
    pub fn worker() -> ApiError {
        unavailable(
            "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please \
             run this command on a manager node or promote the current node to a manager.",
        )
    }

    /// The node is a manager that has no quorum or is not ready.
    pub fn preparing() -> ApiError {
        unavailable(
            "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.",
        )
    }

    /// The node cannot leave what it is not part of.
    pub fn no_swarm() -> ApiError {
        unavailable("This node is not part of a swarm")
    }

    /// The node is a member already.
    pub fn already_in_swarm() -> ApiError {
        unavailable(
            "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another \
             one.",
        )
    }

    /// Joining goes on in the background.
    pub fn join_timeout() -> ApiError {
        unavailable(
            "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. \
             Use the \"docker info\" command to see the current swarm status of your node.",
        )
    }

    /// The manager waits for its unlock key.
    pub fn locked() -> ApiError {
        unavailable(
            "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" \
             to unlock it.",
        )
    }

    /// There is nothing to unlock.
    pub fn not_locked() -> ApiError {
        ApiError::new(Class::Conflict, "swarm is not locked")
    }

    /// The key is wrong.
    pub fn invalid_unlock_key() -> ApiError {
        ApiError::new(Class::Unauthorized, "swarm could not be unlocked: invalid key provided")
    }

    fn unavailable(message: &str) -> ApiError {
        ApiError::unavailable(message)
    }
}

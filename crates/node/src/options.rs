//! What a node is told by its daemon and asked for by users, and what it tells of itself.

use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use swarm_agent::Executor;
use swarm_manager::BackupFolder;
use swarm_proto::v1::ClusterSpec;
use swarm_proto::v1::node_spec::Availability;

use crate::addresses::{Addresses, Given, resolve};
use crate::error::NodeError;
use crate::named;

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
    /// Why it could not be started, or is out of touch with its swarm.
    pub error: String,
    /// The managers that it knows: node ID and `ip:port`.
    pub managers: Vec<(String, String)>,
}

/// Addresses as users give them; see [`InitOptions`].
pub(crate) struct GivenAddresses<'a> {
    pub(crate) listen: &'a str,
    pub(crate) advertise: &'a str,
    pub(crate) data_path: &'a str,
}

impl NodeConfig {
    /// What the given addresses are on this machine; a founder must be able to tell its own.
    pub(crate) async fn resolve(
        &self,
        given: &GivenAddresses<'_>,
        is_founder: bool,
    ) -> Result<Addresses, NodeError> {
        let listen = named::as_address(given.listen).await;
        let given = Given {
            listen: &listen,
            advertise: given.advertise,
            data_path: given.data_path,
            default_advertise: &self.default_advertise,
            managed: &self.managed_subnets,
        };
        resolve(&given, is_founder)
    }
}

impl InitOptions {
    pub(crate) fn addresses(&self) -> GivenAddresses<'_> {
        GivenAddresses {
            listen: &self.listen_addr,
            advertise: &self.advertise_addr,
            data_path: &self.data_path_addr,
        }
    }
}

impl RestoreOptions {
    pub(crate) fn addresses(&self) -> GivenAddresses<'_> {
        GivenAddresses {
            listen: &self.listen_addr,
            advertise: &self.advertise_addr,
            data_path: &self.data_path_addr,
        }
    }
}

impl JoinOptions {
    pub(crate) fn addresses(&self) -> GivenAddresses<'_> {
        GivenAddresses {
            listen: &self.listen_addr,
            advertise: &self.advertise_addr,
            data_path: &self.data_path_addr,
        }
    }
}

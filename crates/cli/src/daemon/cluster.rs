//! The node as the API's cluster: the same requests in both rooms' words.

use async_trait::async_trait;
use swarm_api::{
    ApiError, Class, Cluster, ClusterError, ClusterStatus, InitRequest, JoinRequest, LocalState,
    RemoteManager, RestoreRequest,
};
use swarm_node::{
    InitOptions, JoinOptions, LocalState as NodeState, Node, NodeError, NodeErrorClass,
    RestoreOptions,
};
use swarm_proto::Channel;

/// A node behind the API.
pub(crate) struct NodeCluster(pub(crate) Node);

#[async_trait]
impl Cluster for NodeCluster {
    async fn init(&self, request: InitRequest) -> Result<String, ClusterError> {
        let options = InitOptions {
            listen_addr: request.listen_addr,
            advertise_addr: request.advertise_addr,
            data_path_addr: request.data_path_addr,
            data_path_port: request.data_path_port,
            default_address_pool: request.default_addr_pool,
            subnet_size: request.subnet_size,
            availability: request.availability,
            spec: request.spec,
            force_new_cluster: request.force_new_cluster,
        };
        self.0.init(options).await.map_err(|error| refused(&error))
    }

    async fn join(&self, request: JoinRequest) -> Result<(), ClusterError> {
        let options = JoinOptions {
            listen_addr: request.listen_addr,
            advertise_addr: request.advertise_addr,
            data_path_addr: request.data_path_addr,
            remote_addrs: request.remote_addrs,
            join_token: request.join_token,
            availability: request.availability,
        };
        self.0.join(options).await.map_err(|error| refused(&error))
    }

    async fn leave(&self, force: bool) -> Result<(), ClusterError> {
        self.0.leave(force).await.map_err(|error| refused(&error))
    }

    async fn backup(&self, key: Option<String>) -> Result<Vec<u8>, ClusterError> {
        self.0.backup(key).await.map_err(|error| refused(&error))
    }

    async fn restore(&self, request: RestoreRequest) -> Result<String, ClusterError> {
        let options = RestoreOptions {
            listen_addr: request.listen_addr,
            advertise_addr: request.advertise_addr,
            data_path_addr: request.data_path_addr,
            file: request.file,
            key: request.key,
        };
        self.0.restore(options).await.map_err(|error| refused(&error))
    }

    async fn unlock(&self, key: String) -> Result<(), ClusterError> {
        self.0.unlock(&key).await.map_err(|error| refused(&error))
    }

    async fn unlock_key(&self) -> Result<String, ClusterError> {
        self.0.unlock_key().await.map_err(|error| refused(&error))
    }

    fn status(&self) -> ClusterStatus {
        let status = self.0.status();
        let managers = status.managers.into_iter();
        ClusterStatus {
            state: match status.state {
                NodeState::Inactive => LocalState::Inactive,
                NodeState::Pending => LocalState::Pending,
                NodeState::Active => LocalState::Active,
                NodeState::Error => LocalState::Error,
                NodeState::Locked => LocalState::Locked,
            },
            node_id: status.node_id,
            node_addr: status.node_addr,
            control_available: status.is_manager,
            error: status.error,
            remote_managers: managers
                .map(|(node_id, addr)| RemoteManager { node_id, addr })
                .collect(),
        }
    }

    fn control(&self) -> Result<Channel, ClusterError> {
        self.0.control().map_err(|error| refused(&error))
    }
}

fn refused(error: &NodeError) -> ApiError {
    let class = match error.class() {
        NodeErrorClass::InvalidParameter => Class::InvalidParameter,
        NodeErrorClass::Unavailable => Class::Unavailable,
        NodeErrorClass::Conflict => Class::Conflict,
        NodeErrorClass::Unauthorized => Class::Unauthorized,
        NodeErrorClass::System => Class::System,
    };
    ApiError::new(class, error.to_string())
}

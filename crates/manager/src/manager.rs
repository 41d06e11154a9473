//! One manager: its store on its Raft member, the services that it offers to nodes, and its duties when it leads.
//!
//! Mirrors SwarmKit's `manager.Manager`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use prost::Message as _;
use swarm_ca::{Identity, TlsMaterials, local_from, serve};
use swarm_dispatcher::{Config as DispatcherConfig, Dispatcher};
use swarm_proto::Channel;
use swarm_proto::v1::ca_server::CaServer;
use swarm_proto::v1::control_server::ControlServer;
use swarm_proto::v1::dispatcher_server::DispatcherServer;
use swarm_proto::v1::health_server::HealthServer;
use swarm_proto::v1::log_broker_server::LogBrokerServer;
use swarm_proto::v1::logs_server::LogsServer;
use swarm_proto::v1::node_ca_server::NodeCaServer;
use swarm_proto::v1::{Peer, RaftMember, WeightedPeer};
use swarm_raft::store_adapter::Members;
use swarm_raft::{
    Outgoing, RaftConfig, RaftError, RaftNode, RaftProposer, StoreMachine, Transport,
};
use swarm_store::Store;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::service::{Routes, RoutesBuilder};
use tracing::error;

use crate::control::Control;
use crate::founding::Founding;
use crate::group::Group;
use crate::health::Health;
use crate::log_broker::LogBroker;
use crate::node_ca::NodeCaService;
use crate::term::Duties;

/// The weight by which agents choose among managers (SwarmKit's `remotes.DefaultObservationWeight`).
const PEER_WEIGHT: i64 = 10;
/// A stock client's requests may exceed gRPC's usual 4 MiB, such as a service with large labels.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a manager needs.
pub struct ManagerConfig {
    /// Where the log is kept.
    pub raft_dir: PathBuf,
    /// This member's Raft identity.
    pub raft_id: u64,
    /// Where nodes connect.
    pub listener: TcpListener,
    /// What nodes dial, `ip:port`.
    pub advertise_addr: String,
    /// This node's certificate and the root.
    pub materials: TlsMaterials,
    /// What founds the cluster, on its first manager's first start.
    pub founding: Option<Founding>,
}

/// Why a manager did not start.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The log could not be opened.
    #[error("could not start the manager's Raft member: {0}")]
    Raft(#[from] RaftError),
    /// The listener failed.
    #[error("could not listen for nodes: {0}")]
    Listen(#[from] io::Error),
}

/// A running manager.
pub struct Manager {
    store: Store,
    raft: RaftNode,
    local: Channel,
    server: JoinHandle<()>,
    duties: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Manager {
    /// Opens the log and starts to serve.
    ///
    /// # Errors
    /// [`ManagerError`], where the log cannot be opened or trusted.
    pub fn start(config: ManagerConfig) -> Result<Self, ManagerError> {
        let identity = config.materials.identity();
        let proposer = Arc::new(RaftProposer::default());
        let store = Store::new(proposer.clone());
        let members = Members::default();
        let machine = StoreMachine::new(store.clone(), members.clone());
        let raft =
            RaftNode::start(raft_config(&config, &identity), Box::new(machine), Arc::new(Alone))?;
        proposer.attach(raft.clone());
        let (_, peers) = watch::channel(vec![own_peer(&config, &identity)]);
        let dispatcher_config =
            DispatcherConfig { node_id: identity.node_id.clone(), ..DispatcherConfig::default() };
        let dispatcher = Dispatcher::new(store.clone(), dispatcher_config, peers);
        let log_broker = LogBroker::new(store.clone());
        let node_ca = NodeCaService::new(store.clone(), &identity.organization);
        let control = Control::new(
            store.clone(),
            &identity.organization,
            Some(Arc::new(Group { raft: raft.clone(), members })),
        );
        let routes = routes(&identity, control, &dispatcher, &log_broker, &node_ca);
        let local = local_from(
            identity.clone(),
            config.advertise_addr.parse().ok(),
            routes.clone().prepare(),
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let until = async {
                // A dropped sender stops the server as well.
                let _ = stopped.await;
            };
            if let Err(error) = serve(config.listener, config.materials, routes, until).await {
                error!(%error, "serving nodes ended");
            }
        });
        let duties = Duties {
            node_id: identity.node_id.clone(),
            store: store.clone(),
            founding: config.founding,
            dispatcher,
            log_broker,
            cluster_id: identity.organization,
        };
        let duties = tokio::spawn(duties.run(raft.clone()));
        Ok(Self { store, raft, local, server, duties, stop: Some(stop) })
    }

    /// The manager's store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A channel to all services of this manager, as this very node.
    pub fn channel(&self) -> Channel {
        self.local.clone()
    }

    /// Whether this manager leads and serves.
    pub fn is_leading(&self) -> bool {
        self.raft.status().serving
    }

    /// Waits until this manager leads, and what founds a cluster is in the store.
    pub async fn wait_until_ready(&self) {
        let (tables, mut watch) = self.store.view_and_watch();
        let mut founded = tables.cluster().is_some();
        while !founded {
            founded = watch.next().await.tables.cluster().is_some();
        }
    }

    /// Ends the duties and the server, and closes the log.
    pub async fn stop(mut self) {
        self.duties.abort();
        drop(self.stop.take());
        self.server.abort();
        // Cancelled or ended: either way it no longer runs.
        let _ = (&mut self.duties).await;
        let _ = (&mut self.server).await;
        let raft = self.raft.clone();
        // Closing waits for the thread, which may be in the middle of a flush.
        let _ = tokio::task::spawn_blocking(move || raft.shutdown()).await;
    }
}

fn raft_config(config: &ManagerConfig, identity: &Identity) -> RaftConfig {
    let raft = RaftConfig::new(config.raft_id, config.raft_dir.clone());
    match config.founding {
        None => raft,
        Some(_) => raft.founding(own_member(config, identity).encode_to_vec()),
    }
}

fn own_member(config: &ManagerConfig, identity: &Identity) -> RaftMember {
    RaftMember {
        raft_id: config.raft_id,
        node_id: identity.node_id.clone(),
        addr: config.advertise_addr.clone(),
        ..RaftMember::default()
    }
}

fn own_peer(config: &ManagerConfig, identity: &Identity) -> WeightedPeer {
    let peer = Peer { node_id: identity.node_id.clone(), addr: config.advertise_addr.clone() };
    WeightedPeer { peer: Some(peer), weight: PEER_WEIGHT }
}

fn routes(
    identity: &Identity,
    control: Control,
    dispatcher: &Dispatcher,
    log_broker: &LogBroker,
    node_ca: &NodeCaService,
) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(NodeCaServer::new(node_ca.clone()))
        .add_service(CaServer::new(node_ca.clone()))
        .add_service(ControlServer::new(control).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(DispatcherServer::new(dispatcher.clone()))
        .add_service(LogsServer::new(log_broker.clone()))
        .add_service(LogBrokerServer::new(log_broker.clone()))
        .add_service(HealthServer::new(Health::new(identity.organization.clone())));
    routes.routes()
}

/// The transport of a group of one, which has nobody to send to.
struct Alone;

impl Transport for Alone {
    fn send(&self, messages: Vec<Outgoing>) {
        debug_assert!(messages.is_empty(), "a group of one sends nothing");
    }
}

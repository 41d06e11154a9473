//! What a manager serves to other nodes and to its own, and the server that does it.

use std::sync::Arc;

use swarm_ca::{Identity, TlsMaterials, serve};
use swarm_dispatcher::{Config as DispatcherConfig, Dispatcher};
use swarm_proto::v1::WeightedPeer;
use swarm_proto::v1::ca_server::CaServer;
use swarm_proto::v1::control_server::ControlServer;
use swarm_proto::v1::dispatcher_server::DispatcherServer;
use swarm_proto::v1::health_server::HealthServer;
use swarm_proto::v1::log_broker_server::LogBrokerServer;
use swarm_proto::v1::logs_server::LogsServer;
use swarm_proto::v1::node_ca_server::NodeCaServer;
use swarm_proto::v1::raft_membership_server::RaftMembershipServer;
use swarm_proto::v1::raft_server::RaftServer;
use swarm_store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::service::{Routes, RoutesBuilder};
use tracing::error;

use crate::control::Control;
use crate::forward::{Leaders, pass_on};
use crate::gate::{Gate, admit};
use crate::group::{Group, MembershipService, RaftService};
use crate::health::Health;
use crate::log_broker::LogBroker;
use crate::node_ca::NodeCaService;

/// A stock client's requests may exceed gRPC's usual 4 MiB, such as a service with large labels.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a manager serves.
pub(crate) struct Services {
    control: Control,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) log_broker: LogBroker,
    node_ca: NodeCaService,
    raft: RaftService,
    membership: MembershipService,
}

impl Services {
    pub(crate) fn new(
        store: &Store,
        identity: &Identity,
        group: &Group,
        peers: watch::Receiver<Vec<WeightedPeer>>,
    ) -> Self {
        let dispatcher_config =
            DispatcherConfig { node_id: identity.node_id.clone(), ..DispatcherConfig::default() };
        let organization = &identity.organization;
        Self {
            control: Control::new(store.clone(), organization, Some(Arc::new(group.clone())))
                .asking_external_cas_as(group.materials.clone()),
            dispatcher: Dispatcher::new(store.clone(), dispatcher_config, peers),
            log_broker: LogBroker::new(store.clone()),
            node_ca: NodeCaService::new(store.clone(), organization),
            raft: RaftService::new(group.clone(), organization),
            membership: MembershipService::new(group.clone(), organization),
        }
    }

    pub(crate) fn routes(&self, identity: &Identity, leaders: Arc<Leaders>) -> Routes {
        let mut routes = RoutesBuilder::default();
        let control = ControlServer::new(self.control.clone());
        routes
            .add_service(NodeCaServer::new(self.node_ca.clone()))
            .add_service(CaServer::new(self.node_ca.clone()))
            .add_service(control.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(DispatcherServer::new(self.dispatcher.clone()))
            .add_service(LogsServer::new(self.log_broker.clone()))
            .add_service(LogBrokerServer::new(self.log_broker.clone()))
            .add_service(RaftServer::new(self.raft.clone()))
            .add_service(RaftMembershipServer::new(self.membership.clone()))
            .add_service(HealthServer::new(Health::new(identity.organization.clone())));
        let layer = axum::middleware::from_fn_with_state(leaders, pass_on);
        let gate = Gate::new(&identity.organization);
        // The last is the first that a call meets.
        let gate = axum::middleware::from_fn_with_state(gate, admit);
        routes.routes().into_axum_router().layer(layer).layer(gate).into()
    }
}

/// The server for other nodes; dropping it frees the port.
pub(crate) struct Server {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Serves; connections of the group on `express`.
    pub(crate) fn start(
        listener: TcpListener,
        materials: TlsMaterials,
        routes: Routes,
        express: Handle,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let until = async {
                // A dropped sender stops the server as well.
                let _ = stopped.await;
            };
            if let Err(error) = serve(listener, materials, routes, Some(express), until).await {
                error!(%error, "serving nodes ended");
            }
        });
        Self { task, stop: Some(stop) }
    }

    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.task.abort();
        // Cancelled or ended: either way it no longer runs.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! A membership that runs: the agent, on managers the manager, and the certificate's renewal.

use std::sync::Arc;

use swarm_agent::{Agent, AgentConfig, Executor};
use swarm_ca::{CertificateFiles, Renewer, Role, TlsMaterials};
use swarm_manager::{Founding, Manager, ManagerConfig};
use swarm_proto::Channel;
use swarm_proto::v1::{NodeTlsInfo, SessionMessage};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::warn;

use crate::connector::Managers;
use crate::error::NodeError;
use crate::state::{SavedMembership, StateFolder};

/// News from managers that wait to be taken note of; the session waits beyond that.
const MESSAGES_WAITING_MAX: usize = 16;

/// The parts of a running membership.
pub(crate) struct Membership {
    materials: TlsMaterials,
    managers: Arc<Managers>,
    manager: Option<Manager>,
    tasks: JoinSet<()>,
    saved: SavedMembership,
    registered: watch::Receiver<bool>,
}

impl Membership {
    /// Starts everything that the certificate in the folder makes of this node.
    pub(crate) async fn start(
        folder: &StateFolder,
        saved: SavedMembership,
        executor: Arc<dyn Executor>,
        founding: Option<Founding>,
    ) -> Result<Self, NodeError> {
        let files = CertificateFiles::in_state(folder.root());
        let materials = files.load().map_err(|error| {
            NodeError::system(format!("this node's certificate cannot be used: {error}"))
        })?;
        let managers = Managers::new(materials.clone(), &saved.managers);
        let manager = match materials.identity().role {
            Role::Worker => None,
            Role::Manager => Some(start_manager(folder, &saved, &materials, founding).await?),
        };
        managers.set_local(manager.as_ref().map(Manager::channel));
        let (news, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        let agent = Agent::open(AgentConfig {
            node_id: materials.identity().node_id,
            folder: folder.worker(),
            executor,
            connector: managers.clone(),
            tls_info: tls_info(materials.clone()),
            messages: news,
        });
        let agent = agent.await.map_err(|error| {
            NodeError::system(format!("this node's tasks cannot be read: {error}"))
        })?;
        let (register, registered) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { agent.run().await });
        tasks.spawn(follow(messages, managers.clone(), folder.clone(), saved.clone(), register));
        let (renewer, reach) = (Renewer::new(materials.clone(), files), managers.clone());
        tasks.spawn(async move {
            renewer.run(move || reach.choose().map(|(_, channel)| channel)).await;
        });
        Ok(Self { materials, managers, manager, tasks, saved, registered })
    }

    pub(crate) fn node_id(&self) -> String {
        self.materials.identity().node_id
    }

    pub(crate) fn saved(&self) -> &SavedMembership {
        &self.saved
    }

    pub(crate) fn known_managers(&self) -> Vec<(String, String)> {
        self.managers.list()
    }

    pub(crate) fn is_manager(&self) -> bool {
        self.manager.is_some()
    }

    pub(crate) fn control(&self) -> Option<Channel> {
        self.manager.as_ref().map(Manager::channel)
    }

    /// Tells when the agent has its first session.
    pub(crate) fn registered(&self) -> watch::Receiver<bool> {
        self.registered.clone()
    }

    /// Waits until the manager of this node serves.
    pub(crate) async fn wait_until_ready(&self) {
        if let Some(manager) = &self.manager {
            manager.wait_until_ready().await;
        }
    }

    /// Ends everything; containers are left as they are.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.managers.set_local(None);
        if let Some(manager) = self.manager.take() {
            manager.stop().await;
        }
    }
}

fn tls_info(materials: TlsMaterials) -> Box<dyn Fn() -> NodeTlsInfo + Send + Sync> {
    Box::new(move || {
        let info = materials.info();
        NodeTlsInfo {
            trust_root: info.trust_root,
            cert_issuer_subject: info.issuer_subject,
            cert_issuer_public_key: info.issuer_public_key,
        }
    })
}

async fn start_manager(
    folder: &StateFolder,
    saved: &SavedMembership,
    materials: &TlsMaterials,
    founding: Option<Founding>,
) -> Result<Manager, NodeError> {
    let listener = TcpListener::bind(&saved.listen_addr).await.map_err(|error| {
        NodeError::system(format!("could not listen on {}: {error}", saved.listen_addr))
    })?;
    Manager::start(ManagerConfig {
        raft_dir: folder.raft(),
        raft_id: saved.raft_id,
        listener,
        advertise_addr: saved.advertise_addr.clone(),
        materials: materials.clone(),
        founding,
    })
    .map_err(|error| NodeError::system(error.to_string()))
}

/// Takes note of what the managers say: who they are, which is remembered for the next start.
async fn follow(
    mut messages: mpsc::Receiver<SessionMessage>,
    managers: Arc<Managers>,
    folder: StateFolder,
    mut saved: SavedMembership,
    register: watch::Sender<bool>,
) {
    while let Some(message) = messages.recv().await {
        register.send_replace(true);
        let mut named: Vec<(String, String)> = message
            .managers
            .into_iter()
            .filter_map(|weighted| weighted.peer)
            .filter(|peer| !peer.addr.is_empty())
            .map(|peer| (peer.node_id, peer.addr))
            .collect();
        named.sort();
        if named.is_empty() || named == saved.managers {
            continue;
        }
        managers.replace(&named);
        saved.managers = named;
        if let Err(error) = folder.save(&saved) {
            warn!(%error, "remembering the managers failed");
        }
    }
}

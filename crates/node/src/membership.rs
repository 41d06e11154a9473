//! A membership that runs: the agent, on managers the manager, and the certificate's renewal.
//!
//! The role follows the certificate: where the cluster gives this node another role, the certificate is renewed, and the
//! manager is started or stopped. The agent and its containers stay.

use std::sync::Arc;

use swarm_agent::{Agent, AgentConfig, Executor};
use swarm_ca::{CertificateFiles, Renewer, Role, TlsMaterials};
use swarm_manager::Founding;
use swarm_proto::Channel;
use swarm_proto::v1::{NodeTlsInfo, SessionMessage};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::connector::Managers;
use crate::error::NodeError;
use crate::moving;
use crate::post::Post;
use crate::state::{Record, SavedMembership, StateFolder};

/// News from managers that wait to be taken note of; the session waits beyond that.
const MESSAGES_WAITING_MAX: usize = 16;

/// The parts of a running membership.
pub(crate) struct Membership {
    materials: TlsMaterials,
    managers: Arc<Managers>,
    post: Arc<Post>,
    tasks: JoinSet<()>,
    record: Arc<Record>,
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
        let record = Arc::new(Record::new(folder.clone(), saved));
        let post = Post::new(folder.clone(), record.clone(), materials.clone(), managers.clone());
        let post = Arc::new(post);
        if materials.identity().role == Role::Manager {
            post.take_up(founding).await?;
            // It is kept beside the log from now on, and goes with it.
            let kept = record.change(|saved| saved.raft_id = 0);
            kept.map_err(|error| NodeError::system(error.to_string()))?;
        }
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
        let renewer = Renewer::new(materials.clone(), files);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { agent.run().await });
        let follower = Follower {
            managers: managers.clone(),
            materials: materials.clone(),
            renewer: renewer.clone(),
            record: record.clone(),
            asked: None,
        };
        tasks.spawn(follower.run(messages, register));
        tasks.spawn(moving::follow(record.clone(), post.clone()));
        let keeper = post.clone();
        tasks.spawn(async move { keeper.keep().await });
        let reach = managers.clone();
        tasks.spawn(async move {
            renewer.run(move || reach.choose().map(|(_, channel)| channel)).await;
        });
        Ok(Self { materials, managers, post, tasks, record, registered })
    }

    pub(crate) fn node_id(&self) -> String {
        self.materials.identity().node_id
    }

    pub(crate) fn cluster_id(&self) -> String {
        self.materials.identity().organization
    }

    pub(crate) fn saved(&self) -> SavedMembership {
        self.record.get()
    }

    pub(crate) fn known_managers(&self) -> Vec<(String, String)> {
        self.managers.list()
    }

    pub(crate) fn is_manager(&self) -> bool {
        self.control().is_some()
    }

    pub(crate) fn control(&self) -> Option<Channel> {
        self.managers.local()
    }

    /// The place of this node's manager.
    pub(crate) fn post(&self) -> Arc<Post> {
        self.post.clone()
    }

    /// Tells when the agent has its first session.
    pub(crate) fn registered(&self) -> watch::Receiver<bool> {
        self.registered.clone()
    }

    /// Waits until the manager of this node serves.
    pub(crate) async fn wait_until_ready(&self) {
        self.post.wait_until_ready().await;
    }

    /// Ends everything; containers are left as they are.
    pub(crate) async fn stop(self) {
        self.end(false).await;
    }

    /// As [`Membership::stop`], after taking leave of the other managers.
    pub(crate) async fn leave(self) {
        self.end(true).await;
    }

    async fn end(mut self, leaves: bool) {
        self.tasks.shutdown().await;
        self.post.give_up(leaves).await;
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

/// Takes note of what the managers say.
struct Follower {
    managers: Arc<Managers>,
    materials: TlsMaterials,
    renewer: Renewer,
    record: Arc<Record>,
    /// The role that a renewal was asked for.
    asked: Option<Role>,
}

impl Follower {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<SessionMessage>,
        register: watch::Sender<bool>,
    ) {
        while let Some(message) = messages.recv().await {
            register.send_replace(true);
            self.note_role(&message);
            self.note_managers(message);
        }
    }

    /// The certificate is renewed at once where the cluster has given this node another role.
    fn note_role(&mut self, message: &SessionMessage) {
        let Some(role) = message.node.as_ref().and_then(|node| Role::from_proto(node.role)) else {
            return;
        };
        let own = self.materials.identity().role;
        if role == own {
            self.asked = None;
        } else if self.asked != Some(role) {
            info!(from = %own, to = %role, "this node's role changes");
            self.asked = Some(role);
            self.renewer.renew_now();
        }
    }

    /// Who the managers are is remembered for the next start.
    fn note_managers(&mut self, message: SessionMessage) {
        let mut named: Vec<(String, String)> = message
            .managers
            .into_iter()
            .filter_map(|weighted| weighted.peer)
            .filter(|peer| !peer.addr.is_empty())
            .map(|peer| (peer.node_id, peer.addr))
            .collect();
        named.sort();
        if named.is_empty() || named == self.record.get().managers {
            return;
        }
        self.managers.replace(&named);
        if let Err(error) = self.record.change(|saved| saved.managers = named) {
            warn!(%error, "remembering the managers failed");
        }
    }
}

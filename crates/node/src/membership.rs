//! A membership that runs: the agent, on managers the manager, and the certificate's renewal.
//!
//! The role follows the certificate: where the cluster gives this node another role, the certificate is renewed, and the
//! manager is started or stopped. The agent and its containers stay.

use std::io;
use std::sync::Arc;

use swarm_agent::{Agent, AgentConfig, Executor};
use swarm_ca::{CertificateFiles, Renewer, Role, RootCa, TlsMaterials, UnlockKey};
use swarm_manager::BackupFolder;
use swarm_proto::Channel;
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::{NodeTlsInfo, SessionMessage};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::backups::keep_backups;
use crate::connector::Managers;
use crate::error::NodeError;
use crate::moving;
use crate::post::{Beginning, Post};
use crate::state::{Record, SavedMembership, StateFolder};

/// News from managers that wait to be taken note of; the session waits beyond that.
const MESSAGES_WAITING_MAX: usize = 16;

/// The parts of a running membership.
pub(crate) struct Membership {
    materials: TlsMaterials,
    files: CertificateFiles,
    managers: Arc<Managers>,
    post: Arc<Post>,
    tasks: JoinSet<()>,
    record: Arc<Record>,
    registered: watch::Receiver<bool>,
    /// Why the agent has no session; empty while it has one.
    trouble: watch::Receiver<String>,
}

impl Membership {
    /// Starts everything that the certificate in the folder makes of this node.
    pub(crate) async fn start(
        folder: &StateFolder,
        saved: SavedMembership,
        files: CertificateFiles,
        executor: Arc<dyn Executor>,
        beginning: Beginning,
        backups: Option<BackupFolder>,
    ) -> Result<Self, NodeError> {
        let materials = files.load().map_err(|error| {
            NodeError::system(format!("this node's certificate cannot be used: {error}"))
        })?;
        let managers = Managers::new(materials.clone(), &saved.managers);
        let renewer = Renewer::new(materials.clone(), files.clone());
        let record = Arc::new(Record::new(folder.clone(), saved));
        let post = Arc::new(Post::new(
            folder.clone(),
            record.clone(),
            materials.clone(),
            files.clone(),
            renewer.clone(),
            managers.clone(),
        ));
        if materials.identity().role == Role::Manager {
            post.take_up(beginning).await?;
            let saved = record.get();
            if saved.force_new_cluster {
                post.wait_until_reformed().await?;
            } else if saved.raft_id != 0 {
                post.wait_until_founded().await?;
            }
            // The founder's identity is kept beside the log from now on, and goes with it.
            let kept = record.change(|saved| {
                saved.raft_id = 0;
                saved.force_new_cluster = false;
            });
            kept.map_err(|error| NodeError::system(error.to_string()))?;
        } else if let Err(error) = post.forget() {
            // The daemon may have stopped between a demotion and this.
            warn!(%error, "forgetting the data of a manager failed");
        }
        let (tell, told) = watch::channel(materials.info());
        let (news, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        let agent = Agent::open(AgentConfig {
            node_id: materials.identity().node_id,
            folder: folder.worker(),
            executor,
            connector: managers.clone(),
            tls_info: told,
            messages: news,
        });
        let agent = agent.await.map_err(|error| {
            NodeError::system(format!("this node's tasks cannot be read: {error}"))
        })?;
        let trouble = agent.trouble();
        let (register, registered) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { agent.run().await });
        tasks.spawn(tell_tls_info(materials.clone(), tell));
        let follower = Follower {
            managers: managers.clone(),
            materials: materials.clone(),
            renewer: renewer.clone(),
            files: files.clone(),
            record: record.clone(),
            asked: None,
            is_rotating: false,
        };
        tasks.spawn(follower.run(messages, register));
        tasks.spawn(moving::follow(record.clone(), post.clone()));
        let keeper = post.clone();
        tasks.spawn(async move { keeper.keep().await });
        if let Some(folder) = backups {
            tasks.spawn(keep_backups(post.clone(), folder));
        }
        let reach = managers.clone();
        tasks.spawn(async move {
            renewer
                .run(move |materials| reach.choose_as(materials).map(|(_, channel)| channel))
                .await;
        });
        Ok(Self { materials, files, managers, post, tasks, record, registered, trouble })
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

    /// The certificate's files, with what opens them.
    pub(crate) fn files(&self) -> CertificateFiles {
        self.files.clone()
    }

    pub(crate) fn materials(&self) -> TlsMaterials {
        self.materials.clone()
    }

    /// From now on the manager at this address is the one to talk to; it names the others.
    pub(crate) fn reattach(&self, address: &str) -> io::Result<()> {
        let managers = vec![(String::new(), address.to_owned())];
        self.managers.replace(&managers);
        self.record.change(|saved| saved.managers = managers)
    }

    /// The place of this node's manager.
    pub(crate) fn post(&self) -> Arc<Post> {
        self.post.clone()
    }

    /// What locks this node's disk.
    pub(crate) fn unlock_key(&self) -> Option<UnlockKey> {
        self.files.lock().key
    }

    /// Tells when the agent has its first session.
    pub(crate) fn registered(&self) -> watch::Receiver<bool> {
        self.registered.clone()
    }

    /// Why this node is of no use to its swarm at present, for users; empty as a rule.
    pub(crate) fn trouble(&self) -> String {
        match self.post.trouble() {
            Some(trouble) => trouble,
            // A manager's own agent waits for what the manager waits for: a leader.
            None if self.is_manager() => String::new(),
            None => self.trouble.borrow().clone(),
        }
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

/// Tells of other roots and issuers; a certificate that was merely renewed is no news.
async fn tell_tls_info(materials: TlsMaterials, told: watch::Sender<NodeTlsInfo>) {
    let mut changes = materials.changes();
    loop {
        let next = materials.info();
        told.send_if_modified(|info| {
            let is_news = *info != next;
            *info = next;
            is_news
        });
        changes.changed().await;
    }
}

/// Takes note of what the managers say.
struct Follower {
    managers: Arc<Managers>,
    materials: TlsMaterials,
    renewer: Renewer,
    files: CertificateFiles,
    record: Arc<Record>,
    /// The role that a renewal was asked for.
    asked: Option<Role>,
    /// Whether the managers want the certificate to be renewed.
    is_rotating: bool,
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
            self.note_rotation(&message);
            self.note_root(&message);
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

    /// The certificate is renewed at once where the managers want another one, as while the root is rotated.
    fn note_rotation(&mut self, message: &SessionMessage) {
        let certificate = message.node.as_ref().and_then(|node| node.certificate.as_ref());
        let status = certificate.and_then(|certificate| certificate.status.as_ref());
        let is_rotating = status.is_some_and(|status| status.state() == State::Rotate);
        if is_rotating && !self.is_rotating {
            info!("the managers want this node's certificate to be renewed");
            self.renewer.renew_now();
        }
        self.is_rotating = is_rotating;
    }

    /// The root is the cluster's, unless this node's own certificate would not be trusted by it.
    fn note_root(&mut self, message: &SessionMessage) {
        if message.root_ca.is_empty() || message.root_ca == self.materials.root().certificates_pem()
        {
            return;
        }
        let root = RootCa::from_pem(&message.root_ca);
        let adopted = root.and_then(|root| {
            self.materials.replace_root(root.clone())?;
            self.files.save_root(&root)
        });
        match adopted {
            Ok(()) => info!("this node trusts the cluster's new root CA"),
            Err(error) => warn!(%error, "the cluster's new root CA is not adopted"),
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

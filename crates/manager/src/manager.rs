//! One manager: its store on its Raft member, the services that it offers to nodes, and its duties when it leads.
//!
//! A manager is founded, goes on from its log, or joins others. It serves before it is a member: the others ask whether
//! it does before they admit it. Mirrors SwarmKit's `manager.Manager`.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use swarm_ca::{CaError, CertificateFiles, Identity, Renewer, TlsMaterials, local_from};
use swarm_dispatcher::Dispatcher;
use swarm_proto::Channel;
use swarm_proto::v1::RaftMember;
use swarm_pulse::Listener;
use swarm_raft::{Members, RaftConfig, RaftError, RaftNode, RaftProposer, Seed, StoreMachine};
use swarm_store::{Kind, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tonic::Status;
use tracing::{info, warn};

use crate::backup::BackupSource;
use crate::forward::Leaders;
use crate::founding::Founding;
use crate::group::{Express, Group, PeerTransport, go_first, joining};
use crate::log_keys::{KeyKeeper, LogSealer};
use crate::member_file::{MemberFile, MemberFileError};
use crate::metrics::View;
use crate::presence::{follow_members, is_specified, present};
use crate::services::{Server, Services};
use crate::term::Duties;

/// Raft's clock. SwarmKit ticks each second; a leader that is lost is to be replaced within one.
const TICK: Duration = Duration::from_millis(50);
/// So many ticks of silence at least make a follower ask for votes; a leader tells of itself at each tick.
const ELECTION_TICKS: usize = 8;
/// And at most so many; the difference keeps followers from asking at once.
const ELECTION_TICKS_MAX: usize = 14;
/// A copied folder's owner answers in less where it runs. Where its old address is dead the start waits for so long,
/// while the node is silent: three seconds of that are death.
const COPY_ANSWERS_MAX: Duration = Duration::from_millis(400);

/// What a manager needs.
pub struct ManagerConfig {
    /// Where the log is kept.
    pub raft_dir: PathBuf,
    /// A founder's Raft identity; 0 where the log's directory or the other managers tell it.
    pub raft_id: u64,
    /// Where nodes connect.
    pub listener: TcpListener,
    /// What nodes dial, `ip:port`; with an unspecified address where this node does not know it.
    pub advertise_addr: String,
    /// This node's certificate and the root.
    pub materials: TlsMaterials,
    /// Where the keys of the log are kept, and how they are locked.
    pub files: CertificateFiles,
    /// What renews this node's certificate, where its key lay open on disk.
    pub renewer: Renewer,
    /// What founds the cluster, on its first manager's first start.
    pub founding: Option<Founding>,
    /// Whether all other managers of the log are left behind (`--force-new-cluster`): this one goes on alone.
    pub force_new_cluster: bool,
    /// What an empty log begins with: the state in a backup, together with `force_new_cluster`.
    pub seed: Option<Seed>,
    /// Other managers' addresses, to join through and to be found by again.
    pub remotes: Vec<String>,
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
    /// The log is not this node's.
    #[error(transparent)]
    Member(#[from] MemberFileError),
    /// A new cluster was to be made of nothing.
    #[error("no new cluster can be made here: there is no manager's data in {}", .0.display())]
    NoData(PathBuf),
    /// The keys of the log cannot be kept.
    #[error("could not prepare the keys of the manager's log: {0}")]
    Keys(#[from] CaError),
    /// The machine gives no thread.
    #[error("could not start a thread for the messages of the managers: {0}")]
    Thread(#[source] io::Error),
    /// No manager admitted this one.
    #[error("{}", swarm_ca::rpc_error_text(.0))]
    Join(Box<Status>),
}

/// A running manager.
pub struct Manager {
    store: Store,
    raft: RaftNode,
    group: Group,
    identity: Identity,
    local: Channel,
    server: Server,
    tasks: JoinSet<()>,
    duties: JoinHandle<()>,
    reformed: watch::Receiver<bool>,
    /// None where heartbeats come by gRPC only.
    pulses: Option<Listener>,
    /// Ends after all that runs on it.
    _express: Express,
}

impl Manager {
    /// Opens the log and starts to serve; joins the managers at [`ManagerConfig::remotes`] where there is no log yet.
    ///
    /// # Errors
    /// [`ManagerError`], where the log cannot be opened or trusted, or no manager admits this one.
    pub async fn start(config: ManagerConfig) -> Result<Self, ManagerError> {
        let identity = config.materials.identity();
        let known = MemberFile::load(&config.raft_dir, &identity.node_id, &identity.organization)?;
        let sealer = LogSealer::prepare(&config.files, &config.raft_dir)?;
        let own_addr = own_addr(&config, known.as_ref());
        let proposer = Arc::new(RaftProposer::default());
        let store = Store::new(proposer.clone());
        let members = Members::default();
        let express = Express::start().map_err(ManagerError::Thread)?;
        let materials = config.materials.clone();
        let transport =
            PeerTransport::new(members.clone(), materials, own_addr.clone(), express.handle());
        let group = Group::new(members.clone(), transport, store.clone(), config.materials.clone());
        let (peers, watched_peers) = watch::channel(Vec::new());
        refuse_copy(&config, known.as_ref(), &own_addr).await?;
        let services = Services::new(&store, &identity, &group, watched_peers);
        let leaders = Arc::new(Leaders::new(group.clone(), own_addr.clone()));
        let routes = services.routes(&identity, leaders);
        let listen_addr = config.listener.local_addr()?;
        let server = Server::start(
            config.listener,
            config.materials.clone(),
            routes.clone(),
            express.handle(),
        );

        if config.force_new_cluster && known.is_none() && config.seed.is_none() {
            return Err(ManagerError::NoData(config.raft_dir));
        }
        let founding = config.founding;
        let raft_id = match (known.as_ref().map(|file| file.raft_id), config.raft_id) {
            (Some(raft_id), _) => raft_id,
            (None, raft_id) if raft_id != 0 => raft_id,
            (None, _) => {
                let answer = joining::join(&config.materials, &config.remotes, &own_addr, None)
                    .await
                    .map_err(|status| ManagerError::Join(Box::new(status)))?;
                members.introduce(answer.members);
                answer.raft_id
            }
        };
        let own_addr = members.get(raft_id).map_or(own_addr, |member| member.addr);
        let mut file =
            MemberFile::new(&identity.node_id, &identity.organization, raft_id, &own_addr);
        file.has_log = known.is_some_and(|known| known.has_log);
        file.save(&config.raft_dir)?;
        let own = RaftMember {
            raft_id,
            node_id: identity.node_id.clone(),
            addr: own_addr.clone(),
            ..RaftMember::default()
        };
        let pulses = take_pulses(&services.dispatcher, listen_addr, &own_addr);
        let machine = StoreMachine::new(store.clone(), members.clone());
        let mut raft_config = raft_config(raft_id, config.raft_dir.clone(), &sealer);
        if file.has_log {
            raft_config = raft_config.going_on();
        }
        if founding.is_some() {
            raft_config = raft_config.founding(own.encode_to_vec());
        } else if config.force_new_cluster {
            raft_config = raft_config.reforming(own.encode_to_vec());
        }
        if let Some(seed) = config.seed {
            raft_config = raft_config.seeded(seed);
        }
        let raft =
            RaftNode::start(raft_config, Box::new(machine), Arc::new(group.transport.clone()))?;
        proposer.attach(raft.clone());
        group.attach(raft.clone());
        let local = local_from(identity.clone(), own_addr.parse().ok(), routes.prepare());
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_members(group.clone(), raft_id, peers));
        tasks.spawn(note_log(raft.clone(), file, config.raft_dir));
        tasks.spawn(present(group.clone(), own, config.remotes));
        let reformed = watch::Sender::new(!config.force_new_cluster);
        let was_reformed = reformed.subscribe();
        let keeper = KeyKeeper {
            store: store.clone(),
            files: config.files,
            raft: raft.clone(),
            sealer,
            renewer: config.renewer,
        };
        tasks.spawn(keeper.run());
        let duties = Duties {
            node_id: identity.node_id.clone(),
            store: store.clone(),
            founding,
            reformed: config.force_new_cluster.then(|| reformed.clone()),
            dispatcher: services.dispatcher,
            log_broker: services.log_broker,
            group: group.clone(),
            cluster_id: identity.organization.clone(),
        };
        let duties = tokio::spawn(duties.run(raft.clone()));
        Ok(Self {
            store,
            raft,
            group,
            identity,
            local,
            server,
            tasks,
            duties,
            pulses,
            _express: express,
            reformed: was_reformed,
        })
    }

    /// The manager's store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A channel to all services of this manager, as this very node.
    pub fn channel(&self) -> Channel {
        self.local.clone()
    }

    /// What figures are made of.
    pub fn figures(&self) -> View {
        View { tables: self.store.view(), is_leading: self.is_leading() }
    }

    /// Whether this manager leads and serves.
    pub fn is_leading(&self) -> bool {
        self.raft.status().serving
    }

    /// Waits until what founds a cluster is in the store.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let store = self.store.clone();
        async move {
            let (tables, mut watch) = store.view_and_watch(&[Kind::Cluster]);
            let mut founded = tables.cluster().is_some();
            while !founded {
                founded = watch.next().await.tables.cluster().is_some();
            }
        }
    }

    /// Where backups of this manager's state come from.
    pub fn backups(&self) -> BackupSource {
        let (raft, store) = (self.raft.clone(), self.store.clone());
        BackupSource { raft, store, identity: self.identity.clone() }
    }

    /// Waits until this manager is the only one, where it was forced to be.
    pub fn reformed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut reformed = self.reformed.clone();
        async move {
            // The sender lives as long as the duties; their end makes nothing of it.
            if reformed.wait_for(|reformed| *reformed).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the others have removed this manager from the group: it must be stopped then.
    pub fn removed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut removed = self.group.transport.removed();
        async move {
            // The sender lives as long as the transport; its end is no removal.
            if removed.wait_for(|removed| *removed).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until this manager's member has failed, and tells why: it must be stopped then, and may start again once
    /// the cause is mended.
    pub fn failed(&self) -> impl Future<Output = String> + Send + use<> {
        let mut status = self.raft.watch();
        async move {
            let failed = status.wait_for(|status| status.failure.is_some()).await;
            match failed.ok().and_then(|status| status.failure.clone()) {
                Some(failure) => failure,
                // Stopped because it was asked to.
                None => std::future::pending().await,
            }
        }
    }

    /// Asks the others to let this manager go, as far as they keep their quorum without it.
    ///
    /// # Errors
    /// Their refusal.
    pub async fn leave(&self) -> Result<(), Status> {
        if self.raft.status().voters.len() < 2 {
            return Err(Status::failed_precondition("there is no other manager"));
        }
        self.group.transfer_leadership().await;
        let own = self.raft.status().id;
        let others = self.group.members.list().into_iter().filter(|member| member.raft_id != own);
        let remotes: Vec<String> = others.map(|member| member.addr).collect();
        joining::leave(&self.group.materials, &remotes, own).await
    }

    /// The managers that are in reach and that are not, with this one; none where nobody leads or another does.
    pub fn reachability(&self) -> Option<(usize, usize)> {
        let status = self.raft.status();
        status.leader?;
        let is_reachable =
            |id: &u64| *id == status.id || !status.serving || self.group.transport.is_active(*id);
        let reachable = status.voters.iter().filter(|id| is_reachable(id)).count();
        Some((reachable, status.voters.len() - reachable))
    }

    /// Hands leadership over, ends the duties and the server, and closes the log.
    pub async fn stop(mut self) {
        if self.group.transfer_leadership().await {
            info!(node.id = self.identity.node_id, "leadership handed over");
        }
        self.duties.abort();
        drop(self.pulses.take());
        self.server.stop().await;
        // Cancelled or ended: either way it no longer runs.
        let _ = (&mut self.duties).await;
        self.tasks.shutdown().await;
        self.group.transport.close();
        let raft = self.raft.clone();
        // Closing waits for the thread, which may be in the middle of a flush.
        let _ = tokio::task::spawn_blocking(move || raft.shutdown()).await;
    }
}

/// Takes heartbeats as datagrams on the port where nodes connect. Without it they come by gRPC.
fn take_pulses(
    dispatcher: &Dispatcher,
    listen_addr: SocketAddr,
    own_addr: &str,
) -> Option<Listener> {
    if !is_specified(own_addr) {
        return None;
    }
    let listening = UdpSocket::bind(listen_addr)
        .and_then(|socket| dispatcher.listen(socket, own_addr.to_owned()));
    listening
        .inspect_err(|error| {
            warn!(%error, addr = %listen_addr, "no heartbeats on a path of their own: UDP cannot be listened on");
        })
        .ok()
}

/// Where the others dial this manager: what it was told to advertise, else what they called it when it joined.
fn own_addr(config: &ManagerConfig, known: Option<&MemberFile>) -> String {
    if is_specified(&config.advertise_addr) {
        return config.advertise_addr.clone();
    }
    if let Some(known) = known.filter(|known| is_specified(&known.addr)) {
        return known.addr.clone();
    }
    let port = config.listener.local_addr().map_or(0, |addr| addr.port());
    format!("0.0.0.0:{port}")
}

/// A moved manager's old address must not answer as this very one: then its folder was copied, and both would vote.
async fn refuse_copy(
    config: &ManagerConfig,
    known: Option<&MemberFile>,
    own_addr: &str,
) -> Result<(), MemberFileError> {
    let Some(known) = known.filter(|known| is_specified(&known.addr) && known.addr != own_addr)
    else {
        return Ok(());
    };
    let asked = swarm_ca::manager_at(&known.addr, &config.materials);
    match tokio::time::timeout(COPY_ANSWERS_MAX, asked).await {
        Ok(Ok(peer)) if peer.node_id == known.node_id => Err(MemberFileError::Runs {
            directory: config.raft_dir.clone(),
            node_id: peer.node_id,
            addr: known.addr.clone(),
        }),
        _ => Ok(()),
    }
}

/// Notes that there is a log, once there is, so that its loss is noticed. The term is on disk before it is told.
async fn note_log(raft: RaftNode, mut file: MemberFile, directory: PathBuf) {
    let began = raft.watch().wait_for(|status| status.term > 0).await.is_ok();
    if !began || file.has_log {
        return;
    }
    file.has_log = true;
    if let Err(error) = file.save(&directory) {
        warn!(%error, "the manager's log is not noted");
    }
}

fn raft_config(raft_id: u64, dir: PathBuf, sealer: &LogSealer) -> RaftConfig {
    let mut raft = RaftConfig::new(raft_id, dir);
    raft.sealer = Arc::new(sealer.clone());
    raft.tick = TICK;
    raft.on_start = Some(go_first);
    raft.member.election_ticks = ELECTION_TICKS;
    raft.member.election_ticks_max = ELECTION_TICKS_MAX;
    raft
}

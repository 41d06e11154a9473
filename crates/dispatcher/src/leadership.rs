//! One term of leading: the core with its clock, the store's changes, and the streams that they wake.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::{Cluster, Node, WeightedPeer, node_status};
use swarm_store::{Commit, Store, Tables, Watch};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::SessionError;
use crate::batch::NodeUpdate;
use crate::config::Config;
use crate::core::{Command, Core, Event, KnownNode};
use crate::hub::Hub;
use crate::news::News;
use crate::pulses::Pulses;
use crate::writer::Writer;

/// The managers that agents may turn to, as they are now; [`watch`] tells of changes.
pub type Peers = watch::Receiver<Vec<WeightedPeer>>;

/// What runs while this manager leads.
pub(crate) struct Leadership {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) hub: Hub,
    pub(crate) writer: Writer,
    pub(crate) pulses: Pulses,
    applied_by: String,
    core: Mutex<Core>,
    deadline_moved: Notify,
}

impl Leadership {
    /// Begins a term: every node gets its grace window.
    pub(crate) fn begin(
        store: Store,
        config: &Config,
        peers: Peers,
        pulses: Pulses,
        tables: &Tables,
        seed: u64,
    ) -> Arc<Self> {
        let leadership = Arc::new(Self {
            store,
            peers,
            hub: Hub::default(),
            writer: Writer::new(),
            pulses,
            applied_by: config.node_id.clone(),
            core: Mutex::new(Core::new(config.timing.clone(), &config.node_id, seed)),
            deadline_moved: Notify::new(),
        });
        leadership.configure(tables);
        let known = |node: &Arc<Node>| KnownNode {
            node_id: node.id.clone(),
            is_down: node
                .status
                .as_ref()
                .is_some_and(|status| status.state == node_status::State::Down as i32),
            is_swift: node.status.as_ref().is_some_and(|status| status.swift),
        };
        leadership.step(Event::Lead(tables.iter::<Node>().map(known).collect()));
        leadership
    }

    /// Serves the term until the future is dropped.
    pub(crate) async fn run(&self, watch: Watch) {
        tokio::join!(
            self.writer.run(&self.store, &self.applied_by),
            self.follow_store(watch),
            self.follow_peers(),
            self.keep_time(),
        );
    }

    /// Ends the term for all who wait.
    pub(crate) fn end(&self) {
        self.writer.stop();
        self.hub.end_all(&SessionError::Stopped);
        self.pulses.clear();
    }

    /// Gives the core an event and does what it commands. Returns the command that answers, if any.
    pub(crate) fn step(&self, event: Event) -> Option<Command> {
        let mut core = self.core();
        let wakeup = core.wakeup();
        let mut answer = None;
        for command in core.step(Instant::now().into_std(), event) {
            match command {
                Command::Accept { ref node_id, ref session_id } => {
                    self.hub.open(node_id.clone(), session_id.clone());
                    answer = Some(command);
                }
                Command::Beat(_) | Command::Refuse(_) => answer = Some(command),
                Command::CloseSession { node_id, session_id, reason } => {
                    self.pulses.dismiss(&node_id, &session_id);
                    self.hub.end(&node_id, &session_id, reason);
                }
                Command::SetState { node_id, state, message } => {
                    let update = NodeUpdate {
                        state,
                        message: message.to_owned(),
                        addr: None,
                        description: None,
                        is_swift: None,
                    };
                    self.writer.queue(|batch| batch.set_node(node_id, update));
                }
                Command::OrphanTasks { node_id } => {
                    self.writer.queue(|batch| batch.orphan_tasks(node_id))
                }
            }
        }
        let has_moved = core.wakeup() != wakeup;
        drop(core);
        if has_moved {
            self.deadline_moved.notify_one();
        }
        answer
    }

    /// Whether this is the node's session.
    pub(crate) fn check(&self, node_id: &str, session_id: &str) -> Result<(), SessionError> {
        self.core().check(node_id, session_id)
    }

    async fn keep_time(&self) {
        loop {
            let wakeup = self.core().wakeup();
            let due = async {
                match wakeup {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    self.step(Event::Tick);
                }
                () = self.deadline_moved.notified() => {}
            }
        }
    }

    async fn follow_peers(&self) {
        let mut peers = self.peers.clone();
        while peers.changed().await.is_ok() {
            self.hub.wake_all();
        }
    }

    async fn follow_store(&self, mut watch: Watch) {
        loop {
            let commit = watch.next().await;
            self.observe(&commit);
        }
    }

    fn observe(&self, commit: &Commit) {
        let news = News::of(commit);
        if news.is_for_all {
            self.configure(&commit.tables);
            self.hub.wake_all();
        }
        for node_id in news.removed {
            self.step(Event::NodeRemoved(node_id.to_owned()));
        }
        for node_id in news.touched {
            self.hub.wake(node_id);
        }
    }

    fn configure(&self, tables: &Tables) {
        if let Some(period) = tables.cluster().and_then(|cluster| heartbeat_period(cluster)) {
            self.step(Event::Configure(period));
        }
    }

    // The core's maps are whole between any two statements that could panic.
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The heartbeat period that the cluster sets; none for none and for zero, as in SwarmKit.
fn heartbeat_period(cluster: &Cluster) -> Option<Duration> {
    let period = cluster.spec.as_ref()?.dispatcher.as_ref()?.heartbeat_period.as_ref()?;
    Some(to_duration(period)).filter(|period| !period.is_zero())
}

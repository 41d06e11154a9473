//! The gRPC service: checks who calls, hands events to the core, and starts streams.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use swarm_proto::id::new_id;
use swarm_proto::timestamp::from_duration;
use swarm_proto::v1::dispatcher_server;
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::{
    AssignmentsMessage, AssignmentsRequest, Cluster, HeartbeatRequest, HeartbeatResponse, Node,
    SessionMessage, SessionRequest, Task, TasksMessage, TasksRequest, UpdateTaskStatusRequest,
    UpdateTaskStatusResponse, UpdateVolumeStatusRequest, UpdateVolumeStatusResponse,
};
use swarm_pulse::{Listener, SECRET_BYTES};
use swarm_store::{Error, Store, Tables};
use tonic::{Request, Response, Status};

use crate::assignments::AssignmentSet;
use crate::batch::{Batch, NodeUpdate};
use crate::caller::Caller;
use crate::config::Config;
use crate::core::{Command, Event, Registration, StreamId};
use crate::leadership::{Leadership, Peers};
use crate::messages::Sequence;
use crate::news::News;
use crate::pulses::Pulses;
use crate::stream::{
    AssignmentSource, Messages, SessionSource, Source, TaskSource, channel, serve,
};
use crate::{AGENT_HEADER, SessionError};

/// A node that was down is not kept waiting longer for the control loops' answer to its return.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The Dispatcher service; clones share it. Calls are refused but while [`Dispatcher::run`] runs.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    config: Config,
    peers: Peers,
    leadership: Mutex<Option<Arc<Leadership>>>,
    pulses: Pulses,
    stream_last: AtomicU64,
}

/// Tells the core that a session stream has ended, however that came about.
struct StreamGuard {
    leadership: Arc<Leadership>,
    node_id: String,
    stream: StreamId,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let node_id = std::mem::take(&mut self.node_id);
        self.leadership.pulses.suspect(&node_id);
        self.leadership.step(Event::StreamEnded { node_id, stream: self.stream });
    }
}

/// Ends a term when [`Dispatcher::run`] ends or is dropped.
struct TermGuard<'a>(&'a Dispatcher, Arc<Leadership>);

impl Drop for TermGuard<'_> {
    fn drop(&mut self) {
        *self.0.slot() = None;
        self.1.end();
    }
}

impl Dispatcher {
    /// A dispatcher over this store; `peers` are the managers that agents are told of.
    pub fn new(store: Store, config: Config, peers: Peers) -> Self {
        let shared = Shared {
            store,
            config,
            peers,
            leadership: Mutex::default(),
            pulses: Pulses::default(),
            stream_last: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes heartbeats on a path of their own from now on; our agents are told to send them to `addr`, `ip:port`.
    ///
    /// # Errors
    /// The system's, where there is no thread to be had.
    pub fn listen(&self, socket: UdpSocket, addr: String) -> io::Result<Listener> {
        self.shared.pulses.listen(socket, addr, self.clone())
    }

    /// A node gave a sign of life; the period until the next.
    pub(crate) fn heard(&self, node_id: &str, session_id: &str) -> Result<Duration, SessionError> {
        let (node_id, session_id) = (node_id.to_owned(), session_id.to_owned());
        match self.leadership()?.step(Event::Heartbeat { node_id, session_id }) {
            Some(Command::Beat(period)) => Ok(period),
            Some(Command::Refuse(error)) => Err(error),
            _ => Err(SessionError::Stopped),
        }
    }

    /// A node that has not registered in this term proves that it lives.
    pub(crate) fn heard_of(&self, node_id: &str) {
        if let Ok(leadership) = self.leadership() {
            leadership.step(Event::Sign(node_id.to_owned()));
        }
    }

    /// The secret that nodes' heartbeat keys are made from, made up where there is none yet.
    async fn pulse_secret(&self) -> Vec<u8> {
        let store = &self.shared.store;
        let is_set = |cluster: &Arc<Cluster>| !cluster.pulse_secret.is_empty();
        if !store.view().cluster().is_some_and(is_set) {
            let made = store.update::<_, Error>(|transaction| {
                let Some(cluster) = transaction.tables().cluster().cloned() else { return Ok(()) };
                let pulse_secret = rand::random::<[u8; SECRET_BYTES]>().to_vec();
                transaction.update(Cluster { pulse_secret, ..Arc::unwrap_or_clone(cluster) })
            });
            if let Err(error) = made.await {
                tracing::warn!(%error, "heartbeats come without a path of their own");
            }
        }
        let tables = store.view();
        tables.cluster().map(|cluster| cluster.pulse_secret.clone()).unwrap_or_default()
    }

    /// Serves while this manager leads: from now until `shutdown` is ready or the future is dropped. Begins with a
    /// full grace window for every node and ends all streams.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let Shared { store, config, peers, .. } = &*self.shared;
        let secret = self.pulse_secret().await;
        let (tables, watch) = store.view_and_watch(News::TABLES);
        let seed = rand::rng().random();
        let pulses = self.shared.pulses.clone();
        if !secret.is_empty() {
            pulses.begin(secret);
        }
        let leadership =
            Leadership::begin(store.clone(), config, peers.clone(), pulses, &tables, seed);
        *self.slot() = Some(leadership.clone());
        let _term = TermGuard(self, leadership.clone());
        tracing::info!("dispatcher starting");
        tokio::select! {
            () = leadership.run(watch) => {}
            () = shutdown => tracing::info!("dispatcher stopping"),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Leadership>>> {
        self.shared.leadership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leadership(&self) -> Result<Arc<Leadership>, SessionError> {
        self.slot().clone().ok_or(SessionError::Stopped)
    }

    /// The caller and the term, for a call within a session.
    fn in_session<T>(
        &self,
        request: &Request<T>,
        session_id: &str,
    ) -> Result<(Caller, Arc<Leadership>), Status> {
        let caller = Caller::of(request, &self.shared.store.view())?;
        let leadership = self.leadership()?;
        leadership.check(&caller.node_id, session_id)?;
        Ok((caller, leadership))
    }

    fn start_stream<S: Source>(
        &self,
        leadership: &Leadership,
        node_id: &str,
        session_id: &str,
        source: S,
        guard: Option<StreamGuard>,
    ) -> Result<Response<Messages<S::Message>>, Status> {
        let signal = leadership.hub.listen(node_id, session_id)?;
        let (sender, messages) = channel();
        let (store, sessions) = (self.shared.store.clone(), leadership.hub.count());
        tokio::spawn(async move {
            serve(source, store, signal, sessions, sender).await;
            drop(guard);
        });
        Ok(Response::new(messages))
    }
}

fn is_down(tables: &Tables, node_id: &str) -> bool {
    let status = tables.get::<Node>(node_id).and_then(|node| node.status.as_ref());
    status.is_some_and(|status| status.state() == State::Down)
}

#[tonic::async_trait]
impl dispatcher_server::Dispatcher for Dispatcher {
    type SessionStream = Messages<SessionMessage>;
    type AssignmentsStream = Messages<AssignmentsMessage>;
    type TasksStream = Messages<TasksMessage>;

    async fn session(
        &self,
        request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let Caller { node_id, addr } = Caller::of(&request, &self.shared.store.view())?;
        let leadership = self.leadership()?;
        if self.shared.store.view().get::<Node>(&node_id).is_none() {
            return Err(SessionError::NodeNotFound.into());
        }
        let is_swift = request.metadata().contains_key(AGENT_HEADER);
        let SessionRequest { description, session_id } = request.into_inner();
        let stream = self.shared.stream_last.fetch_add(1, Ordering::Relaxed);
        let registration = Registration {
            node_id: node_id.clone(),
            session_id,
            fresh_session_id: new_id(),
            stream,
            is_swift,
        };
        let session_id = match leadership.step(Event::Register(registration)) {
            Some(Command::Accept { session_id, .. }) => session_id,
            Some(Command::Refuse(error)) => return Err(error.into()),
            _ => return Err(SessionError::Stopped.into()),
        };
        let guard =
            StreamGuard { leadership: leadership.clone(), node_id: node_id.clone(), stream };
        tracing::info!(
            node.id = node_id,
            session.id = session_id,
            swift = is_swift,
            "node registered"
        );
        let ready = NodeUpdate {
            state: State::Ready,
            message: String::new(),
            addr,
            description,
            is_swift: Some(is_swift),
        };
        let was_down = is_down(&self.shared.store.view(), &node_id);
        leadership.writer.commit(|batch| batch.set_node(node_id.clone(), ready)).await?;
        if was_down {
            // What it ran all the while may go on; it must not hear first that it may not.
            let answered = self.shared.store.settled(self.shared.store.view().version());
            if tokio::time::timeout(ANSWER_MAX, answered).await.is_err() {
                tracing::warn!(
                    node.id = node_id,
                    "the control loops are slow: its tasks may be replaced"
                );
            }
        }
        let peers = leadership.peers.clone();
        let source = SessionSource {
            node_id: node_id.clone(),
            session_id: session_id.clone(),
            peers,
            sent: None,
        };
        let mut answer =
            self.start_stream(&leadership, &node_id, &session_id, source, Some(guard))?;
        if is_swift {
            leadership.pulses.invite(&node_id, &session_id, answer.metadata_mut());
        }
        Ok(answer)
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let node_id = Caller::of(&request, &self.shared.store.view())?.node_id;
        let session_id = request.into_inner().session_id;
        let period = self.heard(&node_id, &session_id)?;
        Ok(Response::new(HeartbeatResponse { period: Some(from_duration(period)) }))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        let (caller, leadership) = self.in_session(&request, &request.get_ref().session_id)?;
        let tables = self.shared.store.view();
        let mut reports = Vec::new();
        for report in request.into_inner().updates {
            // A task that is gone, or a report without status, is accepted and dropped, as in SwarmKit.
            let (Some(task), Some(status)) = (tables.get::<Task>(&report.task_id), report.status)
            else {
                continue;
            };
            if task.node_id != caller.node_id {
                return Err(Status::permission_denied(
                    "cannot update a task not assigned this node",
                ));
            }
            reports.push((report.task_id, status));
        }
        if !reports.is_empty() {
            let add = |batch: &mut Batch| {
                reports
                    .into_iter()
                    .for_each(|(task_id, status)| batch.report_task(task_id, status));
            };
            leadership.writer.commit(add).await?;
        }
        Ok(Response::new(UpdateTaskStatusResponse {}))
    }

    async fn update_volume_status(
        &self,
        request: Request<UpdateVolumeStatusRequest>,
    ) -> Result<Response<UpdateVolumeStatusResponse>, Status> {
        let (caller, leadership) = self.in_session(&request, &request.get_ref().session_id)?;
        let updates = request.into_inner().updates;
        leadership
            .writer
            .commit(|batch| {
                for update in updates.into_iter().filter(|update| update.unpublished) {
                    batch.unpublish_volume(update.id, caller.node_id.clone());
                }
            })
            .await?;
        Ok(Response::new(UpdateVolumeStatusResponse {}))
    }

    async fn tasks(
        &self,
        request: Request<TasksRequest>,
    ) -> Result<Response<Self::TasksStream>, Status> {
        let session_id = request.get_ref().session_id.clone();
        let (caller, leadership) = self.in_session(&request, &session_id)?;
        let source = TaskSource { node_id: caller.node_id.clone(), sent: None };
        self.start_stream(&leadership, &caller.node_id, &session_id, source, None)
    }

    async fn assignments(
        &self,
        request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let session_id = request.get_ref().session_id.clone();
        let (caller, leadership) = self.in_session(&request, &session_id)?;
        let source = AssignmentSource {
            set: AssignmentSet::new(&caller.node_id),
            sequence: Sequence::default(),
        };
        self.start_stream(&leadership, &caller.node_id, &session_id, source, None)
    }
}

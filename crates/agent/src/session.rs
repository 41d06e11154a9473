//! A session with one manager: registration, heartbeats, assignments, statuses and log subscriptions, until any breaks.
//!
//! Heartbeats go on the session's connection, and, with a manager that invites to it, on a path of their own (the room
//! `pulse`). What silence means is decided in `vigil`. Mirrors SwarmKit's `agent/session.go`.

use std::sync::Arc;
use std::time::Duration;

use swarm_proto::Channel;
use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::dispatcher_client::DispatcherClient;
use swarm_proto::v1::log_broker_client::LogBrokerClient;
use swarm_proto::v1::{
    AssignmentsRequest, HeartbeatRequest, ListenSubscriptionsRequest, NodeTlsInfo, SessionMessage,
    SessionRequest, UpdateTaskStatusRequest,
};
use swarm_pulse::{Heart, INVITATION_HEADER};
use tokio::sync::watch;
use tonic::{Request, Status, Streaming};
use tracing::{debug, info};

use crate::agent::AgentConfig;
use crate::logs::Subscriptions;
use crate::reporter::Reporter;
use crate::trouble::Trouble;
use crate::vigil::{Signs, Vigil};
use crate::worker::Worker;

/// A manager that does not register a node in this time is given up.
const REGISTRATION_MAX: Duration = Duration::from_secs(5);
/// A manager that does not answer a heartbeat in this time is given up, whatever others say of it.
const HEARTBEAT_ANSWER_MAX: Duration = Duration::from_secs(10);
/// A period of zero would be a busy loop.
const PERIOD_MIN: Duration = Duration::from_millis(50);
/// While beats on their own path are answered, those on the session's connection only show that it works.
const SPARE_PERIODS: u32 = 6;
/// The header by which our dispatcher knows our agents, whom it may tell a shorter period.
const AGENT_HEADER: &str = "swarm-agent";
/// A stock manager's assignments may come in one message, which outgrows gRPC's usual 4 MiB.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How a session ended.
pub(crate) struct End {
    /// Whether it began at all.
    pub(crate) began: bool,
    /// Why it ended.
    pub(crate) status: Status,
    /// A manager that has just answered, to turn to next.
    pub(crate) better: Option<String>,
}

impl End {
    fn at_once(status: Status) -> Self {
        Self { began: false, status, better: None }
    }
}

pub(crate) struct Session<'a> {
    pub(crate) address: &'a str,
    pub(crate) heart: Option<&'a Heart>,
    pub(crate) config: &'a AgentConfig,
    pub(crate) worker: &'a Arc<Worker>,
    pub(crate) reporter: &'a Reporter,
    pub(crate) trouble: &'a Trouble,
    pub(crate) channel: Channel,
}

impl Session<'_> {
    /// Runs the session until it breaks.
    pub(crate) async fn run(self, session_id: &mut String) -> End {
        let mut told = self.config.tls_info.clone();
        told.mark_unchanged();
        let registered =
            tokio::time::timeout(REGISTRATION_MAX, self.register(session_id.clone())).await;
        let (first, messages) = match registered {
            Ok(Ok(registered)) => registered,
            Ok(Err(status)) => {
                session_id.clear();
                return End::at_once(status);
            }
            Err(_) => {
                return End::at_once(Status::deadline_exceeded("registration took too long"));
            }
        };
        session_id.clone_from(&first.session_id);
        info!(session.id = first.session_id, "session with a manager began");
        self.trouble.over();
        let id = first.session_id.clone();
        self.deliver(first).await;
        let signs = Signs::new(self.heart.map(Heart::pulse));
        let vigil = Vigil {
            session_id: &id,
            address: self.address,
            connector: &*self.config.connector,
            signs: &signs,
        };
        let ended = tokio::select! {
            given_up = vigil.keep() => {
                return End { began: true, status: given_up.status, better: given_up.better };
            }
            ended = self.watch(messages) => ended,
            ended = self.heartbeat(&id, &signs) => ended,
            ended = self.assignments(&id) => ended,
            ended = self.report(&id) => ended,
            ended = self.subscriptions() => ended,
            ended = self.tls_change(told) => ended,
        };
        let status = ended.err().unwrap_or_else(|| Status::ok("the manager closed the session"));
        End { began: true, status, better: None }
    }

    fn dispatcher(&self) -> DispatcherClient<Channel> {
        DispatcherClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    async fn register(
        &self,
        session_id: String,
    ) -> Result<(SessionMessage, Streaming<SessionMessage>), Status> {
        let mut description = self.config.executor.describe().await;
        description.tls_info = Some(self.config.tls_info.borrow().clone());
        let description = Some(description);
        let mut request = Request::new(SessionRequest { description, session_id });
        request
            .metadata_mut()
            .insert(AGENT_HEADER, tonic::metadata::MetadataValue::from_static("1"));
        let answer = self.dispatcher().session(request).await?;
        let invitation = answer.metadata().get(INVITATION_HEADER);
        let invitation = invitation.and_then(|text| text.to_str().ok()?.parse().ok());
        let mut messages = answer.into_inner();
        let first = messages.message().await?;
        let first = first.ok_or_else(|| Status::unavailable("the manager closed the session"))?;
        match (self.heart, invitation) {
            (Some(heart), Some(invitation)) => heart.follow(invitation),
            (Some(heart), None) => heart.rest(),
            (None, _) => {}
        }
        Ok((first, messages))
    }

    async fn deliver(&self, message: SessionMessage) {
        if let Some(heart) = self.heart {
            let managers = message.managers.iter().filter_map(|manager| manager.peer.as_ref());
            heart.know(managers.map(|peer| peer.addr.as_str()));
        }
        if let Some(node) = &message.node {
            self.config.executor.configure(node).await;
        }
        // The node that listens may be shutting down.
        let _ = self.config.messages.send(message).await;
    }

    async fn watch(&self, mut messages: Streaming<SessionMessage>) -> Result<(), Status> {
        while let Some(message) = messages.message().await? {
            self.deliver(message).await;
        }
        Ok(())
    }

    /// Ends the session when this node rests on another root, or has a certificate of another: the manager is told of it
    /// as the session goes on.
    async fn tls_change(&self, mut told: watch::Receiver<NodeTlsInfo>) -> Result<(), Status> {
        match told.changed().await {
            Ok(()) => Err(Status::ok("this node's certificate is of another root")),
            Err(_) => std::future::pending().await,
        }
    }

    async fn heartbeat(&self, id: &str, signs: &Signs) -> Result<(), Status> {
        let mut dispatcher = self.dispatcher();
        loop {
            let beat = dispatcher.heartbeat(HeartbeatRequest { session_id: id.to_owned() });
            signs.asked();
            let answer = tokio::time::timeout(HEARTBEAT_ANSWER_MAX, beat).await;
            let answer =
                answer.map_err(|_| Status::deadline_exceeded("a heartbeat was not answered"))??;
            let period = answer.into_inner().period.as_ref().map(to_duration).unwrap_or_default();
            let period = period.max(PERIOD_MIN);
            signs.answered(period);
            tokio::time::sleep(period).await;
            for _ in 1..SPARE_PERIODS {
                if signs.has_pulse(period) {
                    tokio::time::sleep(period).await;
                }
            }
        }
    }

    async fn assignments(&self, id: &str) -> Result<(), Status> {
        let request = AssignmentsRequest { session_id: id.to_owned() };
        let mut stream = self.dispatcher().assignments(request).await?.into_inner();
        let mut applied = String::new();
        while let Some(message) = stream.message().await? {
            let complete = message.r#type() == swarm_proto::v1::assignments_message::Type::Complete;
            if !complete && message.applies_to != applied {
                return Err(Status::data_loss("an assignment was missed"));
            }
            applied.clone_from(&message.results_in);
            debug!(changes = message.changes.len(), complete, "assignments");
            self.worker.assign(message).await;
        }
        Ok(())
    }

    async fn report(&self, id: &str) -> Result<(), Status> {
        let mut dispatcher = self.dispatcher();
        loop {
            let updates = self.reporter.take().await;
            let mut keeper = PutBack { reporter: self.reporter, updates: Some(updates.clone()) };
            let request = UpdateTaskStatusRequest { session_id: id.to_owned(), updates };
            dispatcher.update_task_status(request).await?;
            keeper.updates = None;
        }
    }

    async fn subscriptions(&self) -> Result<(), Status> {
        let mut broker = LogBrokerClient::new(self.channel.clone());
        let mut stream = match broker.listen_subscriptions(ListenSubscriptionsRequest {}).await {
            Ok(stream) => stream.into_inner(),
            // A manager that has no log broker yet is no reason to end the session.
            Err(status) if status.code() == tonic::Code::Unimplemented => {
                return std::future::pending().await;
            }
            Err(status) => return Err(status),
        };
        let mut subscriptions =
            Subscriptions::new(self.config.node_id.clone(), self.worker.clone(), broker);
        while let Some(message) = stream.message().await? {
            subscriptions.follow(message);
        }
        Ok(())
    }
}

/// Gives statuses back to the reporter unless the manager took them, also where the session is dropped meanwhile.
struct PutBack<'a> {
    reporter: &'a Reporter,
    updates: Option<Vec<swarm_proto::v1::update_task_status_request::TaskStatusUpdate>>,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        if let Some(updates) = self.updates.take() {
            self.reporter.put_back(updates);
        }
    }
}

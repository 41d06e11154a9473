//! One lane to one member: takes messages from its queue and delivers them one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use swarm_ca::Credentials;
use swarm_proto::Channel;
use swarm_proto::raftpb::{Message, MessageType};
use swarm_proto::v1::raft_client::RaftClient;
use swarm_proto::v1::{ProcessRaftMessageRequest, StreamRaftMessageRequest};
use swarm_raft::Outgoing;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tracing::debug;

use super::pieces::{PIECE_BYTES_MAX, cut};
use super::transport::{Contact, Shared};
use super::{ADDRESS_HEADER, MEMBER_REMOVED};

/// A member that does not take a heartbeat in this time is not in reach.
const SMALL_TIMEOUT: Duration = Duration::from_secs(1);
/// And one that does not take an append, or a piece of a snapshot, in this time (SwarmKit's `SendTimeout`).
const BULK_TIMEOUT: Duration = Duration::from_secs(2);
/// A snapshot's receiver that takes no piece for so long is given up.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which of the two ways a message takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Heartbeats, votes and answers.
    Small,
    /// Appends and snapshots; on one lane, as appends out of order are refused by the receiver.
    Bulk,
}

impl Lane {
    /// The lane for a message, by its type, which an encoded message begins with.
    pub(super) fn of(message: &Outgoing) -> Self {
        const APPEND: u8 = MessageType::MsgApp as u8;
        const SNAPSHOT: u8 = MessageType::MsgSnap as u8;
        match message.body.as_slice() {
            // Field 1, a number.
            [8, APPEND | SNAPSHOT, ..] => Self::Bulk,
            _ => Self::Small,
        }
    }
}

/// Delivers what waits in one queue.
pub(super) struct Sender {
    shared: Arc<Shared>,
    raft_id: u64,
    lane: Lane,
    contact: Arc<Contact>,
    /// A connection of this lane alone, and the address that it was made to.
    line: Option<(String, RaftClient<Channel>)>,
}

impl Sender {
    pub(super) fn new(
        shared: Arc<Shared>,
        raft_id: u64,
        lane: Lane,
        contact: Arc<Contact>,
    ) -> Self {
        Self { shared, raft_id, lane, contact, line: None }
    }

    /// Delivers until the queue is closed.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Outgoing>) {
        while let Some(message) = messages.recv().await {
            let is_snapshot = message.is_snapshot;
            match self.deliver(message).await {
                Ok(()) => {
                    self.contact.note(Instant::now());
                    if is_snapshot {
                        self.shared.snapshot_arrived(self.raft_id);
                    }
                }
                Err(status) => {
                    debug!(raft.id = self.raft_id, lane = ?self.lane, %status, "a message was lost");
                    self.failed(&status);
                    self.shared.lost(self.raft_id, is_snapshot);
                    // What waited meanwhile is of the past: Raft begins anew with what counts by now.
                    while let Ok(stale) = messages.try_recv() {
                        if stale.is_snapshot {
                            self.shared.lost(self.raft_id, true);
                        }
                    }
                }
            }
        }
    }

    fn failed(&mut self, status: &Status) {
        if status.code() == Code::NotFound && status.message() == MEMBER_REMOVED {
            self.shared.note_removed();
        }
        // A dead connection may look alive for long; a new one tells.
        self.line = None;
    }

    async fn deliver(&mut self, outgoing: Outgoing) -> Result<(), Status> {
        let is_large = outgoing.body.len() > PIECE_BYTES_MAX;
        let message = Message::decode(outgoing.body.as_slice())
            .map_err(|_| Status::internal("an own message cannot be read"))?;
        if !is_large {
            return self.process(message).await;
        }
        for pieces in cut(message) {
            match <[Message; 1]>::try_from(pieces) {
                Ok([whole]) if !outgoing.is_snapshot => self.process(whole).await?,
                Ok(one) => self.stream(one.into()).await?,
                Err(pieces) => self.stream(pieces).await?,
            }
        }
        Ok(())
    }

    async fn process(&mut self, message: Message) -> Result<(), Status> {
        let limit = if self.lane == Lane::Small { SMALL_TIMEOUT } else { BULK_TIMEOUT };
        let request = self.request(ProcessRaftMessageRequest { message: Some(message) });
        let mut client = self.client()?;
        within(limit, client.process_raft_message(request)).await
    }

    async fn stream(&mut self, pieces: Vec<Message>) -> Result<(), Status> {
        let (progress, mut taken) = watch::channel(());
        let pieces = tokio_stream::iter(pieces).map(move |piece| {
            progress.send_replace(());
            StreamRaftMessageRequest { message: Some(piece) }
        });
        let request = self.request(pieces);
        let mut client = self.client()?;
        let mut call = std::pin::pin!(client.stream_raft_message(request));
        tokio::select! {
            answer = &mut call => answer.map(drop),
            () = silence(&mut taken) => {
                Err(Status::deadline_exceeded("the member takes no more pieces"))
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(addr) = MetadataValue::try_from(&self.shared.own_addr) {
            request.metadata_mut().insert(ADDRESS_HEADER, addr);
        }
        request
    }

    fn client(&mut self) -> Result<RaftClient<Channel>, Status> {
        let addr = self.shared.address(self.raft_id);
        let addr = addr.ok_or_else(|| Status::unavailable("the member's address is unknown"))?;
        match &self.line {
            Some((known, client)) if *known == addr => Ok(client.clone()),
            _ => {
                let credentials = Credentials::Member(self.shared.materials.clone());
                let channel = swarm_ca::connect(&addr, credentials)
                    .map_err(|error| Status::unavailable(error.to_string()))?;
                let client = RaftClient::new(channel);
                self.line = Some((addr, client.clone()));
                Ok(client)
            }
        }
    }
}

/// Resolves when no piece was taken for [`PIECE_TIMEOUT`].
async fn silence(taken: &mut watch::Receiver<()>) {
    loop {
        match tokio::time::timeout(PIECE_TIMEOUT, taken.changed()).await {
            Ok(Ok(())) => {}
            // All are taken: the answer is due.
            Ok(Err(_)) => return tokio::time::sleep(PIECE_TIMEOUT).await,
            Err(_) => return,
        }
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<(), Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(drop),
        Err(_) => Err(Status::deadline_exceeded("the member does not answer")),
    }
}

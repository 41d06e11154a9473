//! A lane's connection to its member, and the open call on it that carries messages.
//!
//! One call for all messages costs each a frame there and a frame back, where a call of its own costs both sides heads,
//! tails and a task. A member that does not know the call, as stock managers, is sent each message by its own.

use std::time::Duration;

use swarm_ca::TlsMaterials;
use swarm_proto::Channel;
use swarm_proto::raftpb::Message;
use swarm_proto::v1::raft_client::RaftClient;
use swarm_proto::v1::{
    CarryRaftMessagesRequest, CarryRaftMessagesResponse, ProcessRaftMessageRequest,
    StreamRaftMessageRequest,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};

use super::ADDRESS_HEADER;

/// The way to one member.
pub(super) struct Line {
    addr: String,
    own_addr: String,
    client: RaftClient<Channel>,
    carrier: Carrier,
}

/// How messages get over.
enum Carrier {
    Unopened,
    Open {
        messages: mpsc::Sender<CarryRaftMessagesRequest>,
        answers: Box<Answers>,
    },
    /// By a call for each: the member knows no other way.
    Calls,
}

type Answers = Streaming<CarryRaftMessagesResponse>;

impl Line {
    /// A way to `addr`, which connects when it is first used, for a member that is itself dialled at `own_addr`.
    pub(super) fn new(
        addr: String,
        own_addr: &str,
        materials: TlsMaterials,
    ) -> Result<Self, Status> {
        let channel = swarm_ca::connect_express(&addr, materials)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let client = RaftClient::new(channel);
        Ok(Self { addr, own_addr: own_addr.to_owned(), client, carrier: Carrier::Unopened })
    }

    pub(super) fn leads_to(&self, addr: &str) -> bool {
        self.addr == addr
    }

    /// Delivers a message; after an error the line is of no more use.
    pub(super) async fn deliver(
        &mut self,
        message: Message,
        limit: Duration,
    ) -> Result<(), Status> {
        timeout(limit, self.carry(message))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the member does not answer")))
    }

    /// Delivers one message in pieces.
    pub(super) async fn stream(
        &mut self,
        pieces: impl Stream<Item = StreamRaftMessageRequest> + Send + 'static,
    ) -> Result<(), Status> {
        let request = self.request(pieces);
        self.client.stream_raft_message(request).await.map(drop)
    }

    async fn carry(&mut self, message: Message) -> Result<(), Status> {
        if matches!(self.carrier, Carrier::Unopened) {
            self.carrier = self.open().await?;
        }
        let Carrier::Open { messages, answers } = &mut self.carrier else {
            let request = self.request(ProcessRaftMessageRequest { message: Some(message) });
            return self.client.process_raft_message(request).await.map(drop);
        };
        let request = CarryRaftMessagesRequest { message: Some(message) };
        // A call that ended says why where its answers are read.
        let _ = messages.send(request).await;
        let answer = answers.message().await?;
        answer.map(drop).ok_or_else(|| Status::unavailable("the member ended the call"))
    }

    async fn open(&mut self) -> Result<Carrier, Status> {
        // One is on its way at a time.
        let (messages, waiting) = mpsc::channel(1);
        let request = self.request(ReceiverStream::new(waiting));
        match self.client.carry_raft_messages(request).await {
            Ok(answers) => Ok(Carrier::Open { messages, answers: Box::new(answers.into_inner()) }),
            Err(status) if status.code() == Code::Unimplemented => Ok(Carrier::Calls),
            Err(status) => Err(status),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(addr) = MetadataValue::try_from(&self.own_addr) {
            request.metadata_mut().insert(ADDRESS_HEADER, addr);
        }
        request
    }
}

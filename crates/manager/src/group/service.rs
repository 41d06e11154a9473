//! The service `Raft`: what other members send. For managers of this cluster only.
//!
//! Mirrors SwarmKit's `ProcessRaftMessage`, `StreamRaftMessage` and `ResolveAddress`, with `CarryRaftMessages` beside
//! them; beyond it a message must come from
//! the node that it names.

use std::net::SocketAddr;
use std::pin::Pin;

use prost::Message as _;
use swarm_ca::{Authorizer, Identity, Role};
use swarm_proto::raftpb::{Message, MessageType};
use swarm_proto::v1::raft_server::Raft;
use swarm_proto::v1::{
    CarryRaftMessagesRequest, CarryRaftMessagesResponse, ProcessRaftMessageRequest,
    ProcessRaftMessageResponse, ResolveAddressRequest, ResolveAddressResponse,
    StreamRaftMessageRequest, StreamRaftMessageResponse,
};
use swarm_raft::RaftError;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use super::pieces::Assembly;
use super::{ADDRESS_HEADER, ChangeError, Group, MEMBER_REMOVED};

/// An answer for each message that a lane carries; the first error is the last.
type CarryAnswers =
    Pin<Box<dyn Stream<Item = Result<CarryRaftMessagesResponse, Status>> + Send + 'static>>;

/// Takes messages for this member.
#[derive(Clone)]
pub(crate) struct RaftService {
    group: Group,
    authorizer: Authorizer,
}

/// Who sends, and where it says that it is dialled.
struct Source {
    identity: Identity,
    addr: Option<String>,
}

impl RaftService {
    pub(crate) fn new(group: Group, organization: &str) -> Self {
        // Members that were removed are refused as such, and those that all were away for long must meet again.
        Self { group, authorizer: Authorizer::new(organization).admitting_expired() }
    }

    fn source<T>(&self, request: &Request<T>) -> Result<Source, Status> {
        let identity = self.authorizer.require(request, &[Role::Manager])?;
        let addr = request.metadata().get(ADDRESS_HEADER).and_then(|addr| addr.to_str().ok());
        Ok(Source { identity, addr: addr.map(str::to_owned) })
    }

    fn receive(&self, source: &Source, message: Message) -> Result<(), Status> {
        let from = message.from();
        if self.group.members.is_removed(from) {
            return Err(Status::not_found(MEMBER_REMOVED));
        }
        self.refuse_blacklisted(source)?;
        let Some(node) = self.group.node() else {
            // What is dropped here must not pass for delivered.
            return Err(Status::unavailable(ChangeError::NoMember.to_string()));
        };
        if message.to() != node.status().id {
            debug!(raft.id = message.to(), "a message for another member");
            return Ok(());
        }
        match self.group.members.get(from) {
            Some(member) if member.node_id != source.identity.node_id => {
                return Err(Status::permission_denied(format!(
                    "node {} is not the member that it speaks for",
                    source.identity.node_id
                )));
            }
            Some(_) => self.note_address(from, source),
            // The log will name it, or the vote is a stranger's.
            None if is_vote(&message) => return Ok(()),
            None => {}
        }
        // Only the leader proposes, so that proposals under way cannot conflict.
        if message.r#type() == MessageType::MsgProp {
            return Ok(());
        }
        match node.step(&message.encode_to_vec()) {
            // Whoever takes its place listens on another call.
            Err(error @ RaftError::Stopped) => Err(Status::unavailable(error.to_string())),
            Err(error) => {
                debug!(raft.id = from, %error, "a message was dropped");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn note_address(&self, from: u64, source: &Source) {
        let Some(addr) = &source.addr else { return };
        let is_dialled = |addr: &SocketAddr| !addr.ip().is_unspecified() && addr.port() != 0;
        if addr.parse().ok().as_ref().is_some_and(is_dialled) {
            self.group.transport.told(from, addr);
        }
    }

    fn refuse_blacklisted(&self, source: &Source) -> Result<(), Status> {
        let node_id = &source.identity.node_id;
        let tables = self.group.store.view();
        match tables.cluster() {
            Some(cluster) if cluster.blacklisted_certificates.contains_key(node_id) => {
                Err(Status::permission_denied(format!(
                    "Permission denied: node {node_id} was removed from swarm"
                )))
            }
            _ => Ok(()),
        }
    }
}

fn is_vote(message: &Message) -> bool {
    matches!(message.r#type(), MessageType::MsgVote | MessageType::MsgPreVote)
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn process_raft_message(
        &self,
        request: Request<ProcessRaftMessageRequest>,
    ) -> Result<Response<ProcessRaftMessageResponse>, Status> {
        let source = self.source(&request)?;
        match request.into_inner().message {
            Some(message) => self.receive(&source, message)?,
            None => self.refuse_blacklisted(&source)?,
        }
        Ok(Response::new(ProcessRaftMessageResponse {}))
    }

    type CarryRaftMessagesStream = CarryAnswers;

    async fn carry_raft_messages(
        &self,
        request: Request<Streaming<CarryRaftMessagesRequest>>,
    ) -> Result<Response<CarryAnswers>, Status> {
        let source = self.source(&request)?;
        // A node's removal is its member's: this is how that hears of it.
        if self.refuse_blacklisted(&source).is_err() {
            return Err(Status::not_found(MEMBER_REMOVED));
        }
        let service = self.clone();
        let answers = request.into_inner().map(move |request| {
            if let Some(message) = request?.message {
                service.receive(&source, message)?;
            }
            Ok(CarryRaftMessagesResponse {})
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn stream_raft_message(
        &self,
        request: Request<Streaming<StreamRaftMessageRequest>>,
    ) -> Result<Response<StreamRaftMessageResponse>, Status> {
        let source = self.source(&request)?;
        let mut pieces = request.into_inner();
        let mut assembly = Assembly::default();
        while let Some(piece) = pieces.message().await? {
            if let Some(message) = piece.message {
                assembly.add(message)?;
            }
        }
        match assembly.finish() {
            Some(message) => self.receive(&source, message)?,
            None => self.refuse_blacklisted(&source)?,
        }
        Ok(Response::new(StreamRaftMessageResponse {}))
    }

    async fn resolve_address(
        &self,
        request: Request<ResolveAddressRequest>,
    ) -> Result<Response<ResolveAddressResponse>, Status> {
        let source = self.source(&request)?;
        self.refuse_blacklisted(&source)?;
        if self.group.node().is_none() {
            return Err(Status::unknown(ChangeError::NoMember.to_string()));
        }
        let raft_id = request.into_inner().raft_id;
        let addr = self.group.transport.address(raft_id);
        let addr =
            addr.ok_or_else(|| Status::not_found(format!("member {raft_id:x} not found")))?;
        Ok(Response::new(ResolveAddressResponse { addr }))
    }
}

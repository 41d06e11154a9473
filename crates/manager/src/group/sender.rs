//! One lane to one member: takes messages from its queue and delivers them one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use swarm_proto::raftpb::{Message, MessageType};
use swarm_proto::v1::StreamRaftMessageRequest;
use swarm_raft::Outgoing;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tonic::Status;
use tracing::{debug, error};

use super::line::Line;
use super::merge::merged;
use super::pieces::{PIECE_BYTES_MAX, cut};
use super::tells_removal;
use super::transport::{Contact, Shared};

/// A member that does not take a heartbeat in this time is asked over a new connection: well before it would miss a leader
/// that was out of reach for a moment, since TCP waits longer with each packet that is lost.
const SMALL_TIMEOUT: Duration = Duration::from_millis(500);
/// And one that does not take an append, or a piece of a snapshot, in this time (SwarmKit's `SendTimeout`).
const BULK_TIMEOUT: Duration = Duration::from_secs(2);
/// A snapshot's receiver that takes no piece for so long is given up.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages that are taken from a queue at once, to be merged.
const BATCH_MAX: usize = 64;

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
    line: Option<Line>,
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
        let mut waiting = Vec::new();
        while messages.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            let decoded = waiting.drain(..).filter_map(|outgoing| decode(&outgoing));
            let mut batch = VecDeque::from(merged(decoded.collect()));
            while let Some(message) = batch.pop_front() {
                let is_snapshot = is_snapshot(&message);
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
                        self.drop_stale(&mut batch, &mut messages);
                    }
                }
            }
        }
    }

    /// What waited while a message was lost is of the past: Raft begins anew with what counts by now.
    fn drop_stale(&self, batch: &mut VecDeque<Message>, messages: &mut mpsc::Receiver<Outgoing>) {
        let queued = std::iter::from_fn(|| messages.try_recv().ok());
        let snapshots = batch.drain(..).filter(is_snapshot).count()
            + queued.filter(|outgoing| outgoing.is_snapshot).count();
        (0..snapshots).for_each(|_| self.shared.lost(self.raft_id, true));
    }

    fn failed(&mut self, status: &Status) {
        if tells_removal(status) {
            self.shared.note_removed();
        }
        // A dead connection may look alive for long; a new one tells.
        self.line = None;
    }

    async fn deliver(&mut self, message: Message) -> Result<(), Status> {
        let is_snapshot = is_snapshot(&message);
        if message.encoded_len() <= PIECE_BYTES_MAX {
            return self.process(message).await;
        }
        for pieces in cut(message) {
            match <[Message; 1]>::try_from(pieces) {
                Ok([whole]) if !is_snapshot => self.process(whole).await?,
                Ok(one) => self.stream(one.into()).await?,
                Err(pieces) => self.stream(pieces).await?,
            }
        }
        Ok(())
    }

    async fn process(&mut self, message: Message) -> Result<(), Status> {
        let limit = if self.lane == Lane::Small { SMALL_TIMEOUT } else { BULK_TIMEOUT };
        self.line()?.deliver(message, limit).await
    }

    async fn stream(&mut self, pieces: Vec<Message>) -> Result<(), Status> {
        let (progress, mut taken) = watch::channel(());
        let pieces = tokio_stream::iter(pieces).map(move |piece| {
            progress.send_replace(());
            StreamRaftMessageRequest { message: Some(piece) }
        });
        let mut call = std::pin::pin!(self.line()?.stream(pieces));
        tokio::select! {
            answer = &mut call => answer,
            () = silence(&mut taken) => {
                Err(Status::deadline_exceeded("the member takes no more pieces"))
            }
        }
    }

    fn line(&mut self) -> Result<&mut Line, Status> {
        let addr = self.shared.address(self.raft_id);
        let addr = addr.ok_or_else(|| Status::unavailable("the member's address is unknown"))?;
        let line = match self.line.take() {
            Some(line) if line.leads_to(&addr) => line,
            _ => Line::new(addr, &self.shared.own_addr, self.shared.materials.clone())?,
        };
        Ok(self.line.insert(line))
    }
}

/// A message as it was given to the transport; the raft thread writes none that can't be read.
fn decode(outgoing: &Outgoing) -> Option<Message> {
    let message = Message::decode(outgoing.body.as_slice());
    message.inspect_err(|error| error!(%error, "an own message cannot be read")).ok()
}

fn is_snapshot(message: &Message) -> bool {
    message.r#type() == MessageType::MsgSnap
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

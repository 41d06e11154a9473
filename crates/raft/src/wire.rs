//! Raft's messages on the wire, and the entries that found a group.
//!
//! The `raft` crate's `eraftpb` shares etcd's field numbers, so the bytes made here are what etcd's Raft, and with it
//! SwarmKit's, reads. Callers outside of this crate see bytes or `swarm_proto::raftpb`, never `eraftpb`.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType, HardState, Message};

use crate::error::RaftError;

/// A member that the group begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its raft ID, never 0.
    pub id: u64,
    /// What is told about it to every member: an encoded `RaftMember`.
    pub context: Vec<u8>,
}

/// The message in `bytes`, as a peer sent it.
///
/// # Errors
/// [`RaftError::BadMessage`].
pub fn decode(bytes: &[u8]) -> Result<Message, RaftError> {
    Message::parse_from_bytes(bytes).map_err(RaftError::BadMessage)
}

/// The bytes to send for `message`.
pub fn encode(message: &Message) -> Vec<u8> {
    message.write_to_bytes().expect("a message is written into memory and has no required fields")
}

/// A committed head of log that adds each peer, as etcd's `StartNode` makes it: whoever joins later learns the first
/// members from the log itself.
pub fn founding_log(peers: &[Peer]) -> (Vec<Entry>, HardState) {
    let entries: Vec<Entry> =
        (1..).zip(peers).map(|(index, peer)| founding_entry(index, peer)).collect();
    let state = HardState { term: 1, commit: entries.len() as u64, ..HardState::default() };
    (entries, state)
}

fn founding_entry(index: u64, peer: &Peer) -> Entry {
    change_entry(index, 1, &conf_change(ConfChangeType::AddNode, peer.id, peer.context.clone()))
}

/// The entry that holds a change.
pub(crate) fn change_entry(index: u64, term: u64, change: &ConfChange) -> Entry {
    let mut entry = Entry { index, term, ..Entry::default() };
    entry.set_entry_type(EntryType::EntryConfChange);
    entry.data = conf_change_bytes(change).into();
    entry
}

/// A change of one member.
pub fn conf_change(kind: ConfChangeType, id: u64, context: Vec<u8>) -> ConfChange {
    let mut change = ConfChange { node_id: id, context: context.into(), ..ConfChange::default() };
    change.set_change_type(kind);
    change
}

fn conf_change_bytes(change: &ConfChange) -> Vec<u8> {
    change.write_to_bytes().expect("a change is written into memory and has no required fields")
}

//! A batch as bytes and back: what one frame holds, before it is sealed.
//!
//! Items are a kind, a length and a body; their order is the order in which they take effect.

use protobuf::Message;
use raft::eraftpb::{Entry, HardState};

use super::{Compact, Position};

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const SNAPSHOT: u8 = 3;
const COMPACT: u8 = 4;

/// Kind and length.
const ITEM_HEADER_BYTES: usize = 5;

/// Names a snapshot file: the place in the log that it stands for, and the checksum of its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SnapshotRef {
    pub(super) at: Position,
    pub(super) checksum: u32,
}

/// One thing that a batch says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Entry(Entry),
    HardState(HardState),
    Snapshot(SnapshotRef),
    Compact(Compact),
}

/// Collects the items of one batch.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn hard_state(&mut self, state: &HardState) {
        self.message(HARD_STATE, state);
    }

    pub(super) fn entry(&mut self, entry: &Entry) {
        self.message(ENTRY, entry);
    }

    pub(super) fn snapshot(&mut self, snapshot: SnapshotRef) {
        let SnapshotRef { at, checksum } = snapshot;
        self.item(SNAPSHOT, &[&words(at), &checksum.to_le_bytes()]);
    }

    pub(super) fn compact(&mut self, compact: Compact) {
        self.item(COMPACT, &[&words(compact.to), &[u8::from(compact.all)]]);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn message(&mut self, kind: u8, message: &impl Message) {
        let body = message
            .write_to_bytes()
            .expect("a message is written into memory and has no required fields");
        self.item(kind, &[&body]);
    }

    fn item(&mut self, kind: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).expect("an entry is bounded by the message it comes in");
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }
}

/// The items in `bytes`; `None` where they are not what [`Encoder`] makes.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<ITEM_HEADER_BYTES>() {
        let [kind, length @ ..] = header;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (body, rest) = rest.split_at_checked(length)?;
        items.push(item(*kind, body)?);
        bytes = rest;
    }
    bytes.is_empty().then_some(items)
}

fn item(kind: u8, body: &[u8]) -> Option<Item> {
    Some(match kind {
        ENTRY => Item::Entry(Entry::parse_from_bytes(body).ok()?),
        HARD_STATE => Item::HardState(HardState::parse_from_bytes(body).ok()?),
        SNAPSHOT => {
            let (at, checksum) = position(body)?;
            let checksum = u32::from_le_bytes(checksum.try_into().ok()?);
            Item::Snapshot(SnapshotRef { at, checksum })
        }
        COMPACT => {
            let (to, all) = position(body)?;
            Item::Compact(Compact { to, all: all == [1] })
        }
        _ => return None,
    })
}

fn words(position: Position) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&position.index.to_le_bytes());
    bytes[8..].copy_from_slice(&position.term.to_le_bytes());
    bytes
}

fn position(body: &[u8]) -> Option<(Position, &[u8])> {
    let (index, rest) = body.split_first_chunk::<8>()?;
    let (term, rest) = rest.split_first_chunk::<8>()?;
    Some((Position { index: u64::from_le_bytes(*index), term: u64::from_le_bytes(*term) }, rest))
}

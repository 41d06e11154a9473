//! Cutting Raft messages that are too large for one gRPC message, and putting them together again.
//!
//! Snapshots are cut as SwarmKit cuts them: every piece repeats the head and carries a part of the data. An append
//! of several entries becomes several appends, which any Raft takes. An entry that is too large alone is cut like a
//! snapshot, which only managers of ours put together.

use swarm_proto::raftpb::{Entry, Message, MessageType, Snapshot};
use tonic::Status;

/// The most of a body that one gRPC message carries; with the head around it that stays below 1 MiB.
pub(crate) const PIECE_BYTES_MAX: usize = 768 << 10;
/// An assembled message is no larger: a snapshot of a far larger cluster than anyone runs.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// The messages to send for `message`; each is a list of pieces, most often one.
pub(crate) fn cut(message: Message) -> Vec<Vec<Message>> {
    match message.r#type() {
        MessageType::MsgSnap => vec![cut_snapshot(message)],
        MessageType::MsgApp => cut_append(message),
        _ => vec![vec![message]],
    }
}

fn cut_snapshot(mut message: Message) -> Vec<Message> {
    let data = message.snapshot.as_mut().and_then(|snapshot| snapshot.data.take());
    let data = data.unwrap_or_default();
    let head = message;
    let piece = |part: &[u8]| {
        let metadata = head.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.clone());
        Message { snapshot: Some(Snapshot { data: Some(part.to_vec()), metadata }), ..head.clone() }
    };
    if data.is_empty() {
        return vec![piece(&[])];
    }
    data.chunks(PIECE_BYTES_MAX).map(piece).collect()
}

fn cut_append(mut message: Message) -> Vec<Vec<Message>> {
    let entries = std::mem::take(&mut message.entries);
    let mut head = message;
    let mut messages = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        if !batch.is_empty() && bytes + size(&entry) > PIECE_BYTES_MAX {
            messages.push(append(&mut head, std::mem::take(&mut batch)));
            bytes = 0;
        }
        bytes += size(&entry);
        batch.push(entry);
    }
    messages.push(append(&mut head, batch));
    messages
}

/// An append of these entries after what `head` names; `head` then names the last of them.
fn append(head: &mut Message, entries: Vec<Entry>) -> Vec<Message> {
    let next = entries.last().map(|last| (last.index, last.term));
    let message = Message { entries, ..head.clone() };
    if let Some((index, term)) = next {
        (head.index, head.log_term) = (index, term);
    }
    match message.entries.as_slice() {
        [entry] if size(entry) > PIECE_BYTES_MAX => cut_entry(&message, entry),
        _ => vec![message],
    }
}

fn cut_entry(message: &Message, entry: &Entry) -> Vec<Message> {
    let data = entry.data.as_deref().unwrap_or_default();
    // The head without its entries, which are large.
    let head = head_of(message);
    let piece = |part: &[u8]| Message {
        entries: vec![Entry {
            data: Some(part.to_vec()),
            term: entry.term,
            index: entry.index,
            r#type: entry.r#type,
        }],
        ..head.clone()
    };
    data.chunks(PIECE_BYTES_MAX).map(piece).collect()
}

fn head_of(message: &Message) -> Message {
    Message {
        r#type: message.r#type,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        ..Message::default()
    }
}

fn size(entry: &Entry) -> usize {
    entry.data.as_ref().map_or(0, Vec::len)
}

/// Puts pieces together as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    message: Option<Message>,
    bytes: usize,
}

impl Assembly {
    /// Takes the next piece.
    ///
    /// # Errors
    /// Where it does not belong to those before it, or all together are too large.
    pub(crate) fn add(&mut self, piece: Message) -> Result<(), Status> {
        self.bytes += body(&piece);
        if self.bytes > MESSAGE_BYTES_MAX {
            return Err(Status::invalid_argument("the Raft message is too large"));
        }
        let Some(message) = &mut self.message else {
            self.message = Some(piece);
            return Ok(());
        };
        if message.index != piece.index {
            return Err(Status::invalid_argument(format!(
                "Raft message chunk with index {} is different from the previously received raft message index {}",
                piece.index(),
                message.index()
            )));
        }
        match (&mut message.snapshot, piece.snapshot, message.entries.as_mut_slice()) {
            (Some(snapshot), Some(part), _) if message.r#type == piece.r#type => {
                let data = snapshot.data.get_or_insert_default();
                data.extend_from_slice(part.data.as_deref().unwrap_or_default());
                Ok(())
            }
            (None, None, [entry]) if piece.entries.len() == 1 => {
                let data = entry.data.get_or_insert_default();
                data.extend_from_slice(piece.entries[0].data.as_deref().unwrap_or_default());
                Ok(())
            }
            _ => Err(Status::invalid_argument("Raft message chunk is not of type MsgSnap")),
        }
    }

    /// The whole message; none where nothing came.
    pub(crate) fn finish(self) -> Option<Message> {
        self.message
    }
}

fn body(message: &Message) -> usize {
    let snapshot = message.snapshot.as_ref().and_then(|snapshot| snapshot.data.as_ref());
    snapshot.map_or(0, Vec::len) + message.entries.iter().map(size).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use swarm_proto::raftpb::SnapshotMetadata;

    use super::*;

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry { index: Some(index), term: Some(3), r#type: None, data: Some(vec![7; bytes]) }
    }

    fn assembled(pieces: Vec<Message>) -> Message {
        let mut assembly = Assembly::default();
        for piece in pieces {
            assert!(piece.encoded_len() < 1 << 20);
            assembly.add(piece).expect("it fits");
        }
        assembly.finish().expect("something came")
    }

    #[test]
    fn appends_are_cut_between_entries_and_within_large_ones() {
        let head = Message {
            r#type: Some(MessageType::MsgApp as i32),
            index: Some(9),
            log_term: Some(2),
            ..Message::default()
        };
        for (sizes, expect) in [
            (vec![], vec![1]),
            (vec![10, 10], vec![1]),
            (vec![500 << 10, 500 << 10, 10], vec![1, 1]),
            (vec![10, 2 << 20, 10], vec![1, 3, 1]),
        ] {
            let entries: Vec<Entry> = (10..).zip(&sizes).map(|(i, size)| entry(i, *size)).collect();
            let messages = cut(Message { entries: entries.clone(), ..head.clone() });
            let pieces: Vec<usize> = messages.iter().map(Vec::len).collect();
            assert_eq!(pieces, expect, "{sizes:?}");
            let mut got: Vec<Entry> = Vec::new();
            for message in messages.into_iter().map(assembled) {
                assert_eq!(message.index(), 9 + got.len() as u64);
                assert_eq!(message.log_term(), if got.is_empty() { 2 } else { 3 });
                got.extend(message.entries);
            }
            assert!(got == entries);
        }
    }

    #[test]
    fn snapshots_are_cut_and_strange_pieces_refused() {
        let metadata = SnapshotMetadata { index: Some(5), ..SnapshotMetadata::default() };
        let snapshot = |bytes| Message {
            r#type: Some(MessageType::MsgSnap as i32),
            snapshot: Some(Snapshot {
                data: Some(vec![1; bytes]),
                metadata: Some(metadata.clone()),
            }),
            ..Message::default()
        };
        for (bytes, expect) in [(0, 1), (10, 1), (2 << 20, 3)] {
            let pieces = cut(snapshot(bytes)).remove(0);
            assert_eq!(pieces.len(), expect);
            assert!(assembled(pieces) == snapshot(bytes));
        }
        let mut assembly = Assembly::default();
        assembly.add(snapshot(3)).expect("the first");
        assert!(assembly.add(Message { index: Some(8), ..snapshot(3) }).is_err());
        assert!(assembly.add(Message::default()).is_err());
    }
}

//! The datagrams: 73 bytes each, so that an answer is never larger than what it answers.
//!
//! ```text
//!   0  "SWP1"   4  kind   5  invitation   13  number   21  period, ms   25  node   57  tag (HMAC-SHA256, first half)
//! ```
//!
//! Numbers are big-endian, the node's ID is filled up with zeros. The tag covers all that is before it, the kind included, so that none passes for another.

use std::time::Duration;

use crate::key::{Key, TAG_BYTES};

const MAGIC: &[u8; 4] = b"SWP1";
/// SwarmKit's node IDs have 25 letters.
const NAME_BYTES: usize = 32;
const BODY_BYTES: usize = 25 + NAME_BYTES;
/// The size of every datagram.
pub(crate) const DATAGRAM_BYTES: usize = BODY_BYTES + TAG_BYTES;

/// What a datagram says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The node lives; with a number that is higher than those before.
    Beat,
    /// The manager heard the beat of this number; the next is due after the period.
    Answer,
    /// The manager asks for a sign of life; with a number of its own that grows as well.
    Ask,
    /// The manager knows no such invitation. It has no key to sign this with, so that it is a hint and no more.
    Unknown,
}

/// A node's ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name([u8; NAME_BYTES]);

impl Name {
    /// None for an ID that is too long, which no node has.
    pub(crate) fn new(node_id: &str) -> Option<Self> {
        let mut name = [0; NAME_BYTES];
        name.get_mut(..node_id.len())?.copy_from_slice(node_id.as_bytes());
        Some(Self(name))
    }

    /// The ID; empty where it is no text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default().trim_end_matches('\0')
    }
}

/// One datagram, its tag left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) kind: Kind,
    /// Which invitation it belongs to.
    pub(crate) invitation: u64,
    pub(crate) number: u64,
    /// Zero where it means nothing.
    pub(crate) period: Duration,
    /// The node that beats, or is spoken to.
    pub(crate) node: Name,
}

impl Datagram {
    pub(crate) fn new(kind: Kind, node: Name, invitation: u64, number: u64) -> Self {
        Self { kind, invitation, number, period: Duration::ZERO, node }
    }

    /// The bytes on the wire; without a key the tag is zero.
    pub(crate) fn encode(&self, key: Option<&Key>) -> [u8; DATAGRAM_BYTES] {
        let mut bytes = [0; DATAGRAM_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = match self.kind {
            Kind::Beat => 1,
            Kind::Answer => 2,
            Kind::Ask => 3,
            Kind::Unknown => 4,
        };
        bytes[5..13].copy_from_slice(&self.invitation.to_be_bytes());
        bytes[13..21].copy_from_slice(&self.number.to_be_bytes());
        let period = u32::try_from(self.period.as_millis()).unwrap_or(u32::MAX);
        bytes[21..25].copy_from_slice(&period.to_be_bytes());
        bytes[25..BODY_BYTES].copy_from_slice(&self.node.0);
        if let Some(key) = key {
            let tag = key.sign(&bytes[..BODY_BYTES]);
            bytes[BODY_BYTES..].copy_from_slice(&tag);
        }
        bytes
    }

    /// What the bytes claim; none for what is no datagram of ours. Nothing of it is proven before [`is_signed`].
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; DATAGRAM_BYTES] = bytes.try_into().ok()?;
        if &bytes[..4] != MAGIC {
            return None;
        }
        let kind = match bytes[4] {
            1 => Kind::Beat,
            2 => Kind::Answer,
            3 => Kind::Ask,
            4 => Kind::Unknown,
            _ => return None,
        };
        let number = |from: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[from..from + 8]);
            u64::from_be_bytes(number)
        };
        let mut node = [0; NAME_BYTES];
        node.copy_from_slice(&bytes[25..BODY_BYTES]);
        let mut period = [0; 4];
        period.copy_from_slice(&bytes[21..25]);
        Some(Self {
            kind,
            invitation: number(5),
            number: number(13),
            period: Duration::from_millis(u32::from_be_bytes(period).into()),
            node: Name(node),
        })
    }
}

/// Whether who made this datagram has the key.
pub(crate) fn is_signed(bytes: &[u8], key: &Key) -> bool {
    bytes.len() == DATAGRAM_BYTES && key.has_signed(&bytes[..BODY_BYTES], &bytes[BODY_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_was_given_and_notices_every_change() {
        let key = Key::derive(b"secret", "n");
        let node = Name::new("n").expect("short");
        let datagram = Datagram {
            period: Duration::from_millis(500),
            ..Datagram::new(Kind::Answer, node, 7, 9)
        };
        assert_eq!(node.as_str(), "n");
        assert_eq!(Name::new(&"n".repeat(33)), None);
        let bytes = datagram.encode(Some(&key));
        assert_eq!(Datagram::read(&bytes), Some(datagram));
        assert!(is_signed(&bytes, &key));
        assert!(!is_signed(&bytes, &Key::derive(b"secret", "m")));
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert!(!is_signed(&changed, &key), "byte {at}");
        }
    }

    #[test]
    fn garbage_is_none() {
        let node = Name::new("n").expect("short");
        let whole = Datagram::new(Kind::Beat, node, 1, 1).encode(None);
        for bytes in [&b""[..], b"SWP1", &whole[1..], &[&whole[..], b"x"].concat(), &[0; 73]] {
            assert_eq!(Datagram::read(bytes), None, "{bytes:?}");
        }
    }
}

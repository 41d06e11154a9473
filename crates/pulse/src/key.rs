//! The key of a node's heartbeats, and the invitation that carries it.

use std::fmt;
use std::str::FromStr;

use ring::hmac;

/// Bytes of a tag: half of the hash, which is no shorter than what TLS uses.
pub(crate) const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// The size of the secret that all managers have and that nodes' keys are made from.
pub const SECRET_BYTES: usize = 32;

/// A key that the managers and one node have. Never logged.
#[derive(Clone)]
pub(crate) struct Key {
    bytes: [u8; KEY_BYTES],
    hmac: hmac::Key,
}

impl Key {
    /// The node's key; nothing about the secret can be learned from it.
    pub(crate) fn derive(secret: &[u8], node_id: &str) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(hmac::sign(&secret, node_id.as_bytes()).as_ref());
        Self::new(bytes)
    }

    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self { bytes, hmac: hmac::Key::new(hmac::HMAC_SHA256, &bytes) }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hmac::sign(&self.hmac, message).as_ref()[..TAG_BYTES]);
        tag
    }

    pub(crate) fn has_signed(&self, message: &[u8], tag: &[u8]) -> bool {
        let expect = self.sign(message);
        // All bytes are looked at, so that the time taken tells nothing.
        tag.len() == TAG_BYTES
            && expect.iter().zip(tag).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What a node needs to beat: where to, and with which key. As text it is `ip:port number key`.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Where the leader listens, as it advertises itself.
    pub addr: String,
    pub(crate) id: u64,
    pub(crate) key: Key,
}

/// A text that is no invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manager's invitation to send heartbeats cannot be read")]
pub struct InvitationError;

impl Invitation {
    pub(crate) fn new(addr: &str, key: Key) -> Self {
        Self { addr: addr.to_owned(), id: rand::random(), key }
    }

    /// As the metadata carries it; it holds the key.
    pub fn to_text(&self) -> String {
        format!("{} {:016x} {}", self.addr, self.id, hex::encode(self.key.bytes))
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let mut words = text.split(' ');
        let (Some(addr), Some(id), Some(key), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(InvitationError);
        };
        let mut bytes = [0; KEY_BYTES];
        hex::decode_to_slice(key, &mut bytes).map_err(|_| InvitationError)?;
        let id = u64::from_str_radix(id, 16).map_err(|_| InvitationError)?;
        Ok(Self { addr: addr.to_owned(), id, key: Key::new(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_survives_its_text_and_hides_its_key() {
        let invitation = Invitation::new("10.0.0.1:2377", Key::derive(b"secret", "n"));
        let read: Invitation = invitation.to_text().parse().expect("readable");
        assert_eq!((read.addr.as_str(), read.id), ("10.0.0.1:2377", invitation.id));
        assert_eq!(read.key.bytes, invitation.key.bytes);
        assert!(!format!("{read:?}").contains(&hex::encode(read.key.bytes)));
        for text in ["", "a b c", "a 1", "10.0.0.1:2377 1 00", &(read.to_text() + " x")] {
            assert!(text.parse::<Invitation>().is_err(), "{text}");
        }
    }
}

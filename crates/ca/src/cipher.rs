//! Seals what lies on a manager's disk: keys of 256 bits, and AES-256-GCM under keys derived from them.
//!
//! Mirrors SwarmKit's `manager/encryption` in purpose; the form is ours, since no other program reads it.
//!
//! ```text
//!   form u8 | salt 16 | count u64 || ciphertext | tag 16
//! ```
//!
//! Each [`Cipher`] seals under a subkey of its own, HKDF of the key and a random salt, and counts its records: a nonce
//! is never used twice with one subkey, however many records there are and however often the daemon starts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rand::RngCore as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

/// The form that this build writes. No record of a Raft log that is not sealed begins with it.
pub const SEALED_FORM: u8 = 0xe1;

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const COUNT_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + SALT_BYTES + COUNT_BYTES;
/// What subkeys are for, so that other uses of a key would get others.
const PURPOSE: &[&[u8]] = &[b"swarm sealed record 1"];

/// A symmetric key. It has no `Debug` that shows it, and compares in constant time.
#[derive(Clone)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// A random key.
    pub fn generate() -> Self {
        let mut bytes = [0; KEY_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The key in these bytes; none unless there are 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The key's bytes, for the few places that keep it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        let differs = self.0.iter().zip(&other.0).fold(0u8, |differ, (a, b)| differ | (a ^ b));
        std::hint::black_box(differs) == 0
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Seals and opens under one key.
pub struct Cipher {
    key: SecretKey,
    salt: [u8; SALT_BYTES],
    subkey: LessSafeKey,
    count: AtomicU64,
    /// The subkey that opened last: records of one run of the daemon follow each other.
    opened: Mutex<Option<([u8; SALT_BYTES], LessSafeKey)>>,
}

impl Cipher {
    /// A cipher under this key.
    pub fn new(key: SecretKey) -> Self {
        let mut salt = [0; SALT_BYTES];
        rand::rng().fill_bytes(&mut salt);
        let subkey = subkey(&key, &salt);
        Self { key, salt, subkey, count: AtomicU64::new(0), opened: Mutex::default() }
    }

    /// Seals `plain`.
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + AES_256_GCM.tag_len());
        sealed.push(SEALED_FORM);
        sealed.extend_from_slice(&self.salt);
        sealed.extend_from_slice(&count.to_le_bytes());
        sealed.extend_from_slice(plain);
        let (header, body) = sealed.split_at_mut(HEADER_BYTES);
        let tag = self
            .subkey
            .seal_in_place_separate_tag(nonce(count), Aad::from(&*header), body)
            .expect("only more than 64 GiB in one record cannot be sealed");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what a cipher under the same key sealed; none for anything else.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES)?;
        let salt: [u8; SALT_BYTES] = header[1..=SALT_BYTES].try_into().ok()?;
        let count = u64::from_le_bytes(header[1 + SALT_BYTES..].try_into().ok()?);
        if header[0] != SEALED_FORM {
            return None;
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_none_or(|(known, _)| *known != salt) {
            *opened = Some((salt, subkey(&self.key, &salt)));
        }
        let (_, subkey) = opened.as_ref()?;
        let mut plain = body.to_vec();
        let length = subkey.open_in_place(nonce(count), Aad::from(header), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn subkey(key: &SecretKey, salt: &[u8]) -> LessSafeKey {
    let derived = Salt::new(HKDF_SHA256, salt).extract(&key.0);
    let derived = derived.expand(PURPOSE, &AES_256_GCM).map(UnboundKey::from);
    LessSafeKey::new(derived.expect("a key is much shorter than what HKDF can yield"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_the_same_key_sealed_and_nothing_else() {
        let key = SecretKey::generate();
        let (cipher, later) = (Cipher::new(key.clone()), Cipher::new(key.clone()));
        let plain = b"an entry of the log".to_vec();
        let (first, second) = (cipher.seal(&plain), cipher.seal(&plain));
        assert_ne!(first, second);
        for sealed in [&first, &second, &later.seal(&plain)] {
            assert_eq!(later.open(sealed).as_ref(), Some(&plain));
            assert!(!sealed.windows(8).any(|part| plain.starts_with(part)));
        }
        for position in 0..first.len() {
            let mut changed = first.clone();
            changed[position] ^= 1;
            assert_eq!(cipher.open(&changed), None, "byte {position}");
        }
        assert_eq!(Cipher::new(SecretKey::generate()).open(&first), None);
        for length in 0..first.len() {
            assert_eq!(cipher.open(&first[..length]), None);
        }
        assert_eq!(cipher.open(&cipher.seal(b"")), Some(Vec::new()));
    }

    #[test]
    fn keys_compare_and_hide() {
        let key = SecretKey::generate();
        assert_eq!(SecretKey::from_slice(key.as_bytes()), Some(key.clone()));
        assert_ne!(key, SecretKey::generate());
        assert_eq!(SecretKey::from_slice(&[1; 31]), None);
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }
}

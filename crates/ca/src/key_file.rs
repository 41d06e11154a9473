//! A node's key file as text: its TLS key, and in headers what else a manager must keep secret.
//!
//! ```text
//!   -----BEGIN PRIVATE KEY-----          or SWARM LOCKED PRIVATE KEY, sealed under the unlock key
//!   kek-version: 41                      the cluster's version that set the unlock key
//!   raft-dek: …                          opens the Raft log; sealed as the TLS key is
//!   raft-dek-pending: …                  seals what is written while the log's key is changed
//!   raft-dek-needs-rotation: true
//! ```
//!
//! The headers are SwarmKit's (`ca/keyreadwriter.go`, `manager/deks.go`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cipher::Cipher;
use crate::{CaError, Lock, SecretKey, UnlockKey, pem};

const LOCKED: &str = "SWARM LOCKED PRIVATE KEY";
const KEK_VERSION: &str = "kek-version";
const DEK: &str = "raft-dek";
const DEK_PENDING: &str = "raft-dek-pending";
const DEK_NEEDS_ROTATION: &str = "raft-dek-needs-rotation";

/// The keys of a manager's Raft log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftKeys {
    /// What is on disk is sealed with it; none where the log is plain or there is none.
    pub current: Option<SecretKey>,
    /// What is written is sealed with it, while the log's key is changed.
    pub pending: Option<SecretKey>,
    /// Whether the key is to be changed: it lay open on disk, or under a key that was withdrawn.
    pub needs_rotation: bool,
}

/// What a key file holds.
#[derive(Clone)]
pub(crate) struct KeyFile {
    /// The TLS key, in PEM.
    pub(crate) key_pem: Vec<u8>,
    pub(crate) lock: Lock,
    pub(crate) raft: RaftKeys,
}

impl KeyFile {
    /// Reads a file; one that is locked with the key that locks it.
    pub(crate) fn decode(text: &[u8], unlock: Option<&UnlockKey>) -> Result<Self, CaError> {
        let text = std::str::from_utf8(text).map_err(|_| CaError::MalformedKey)?;
        let headers = headers(text);
        let version = headers.get(KEK_VERSION).and_then(|version| version.parse().ok());
        let version = version.unwrap_or_default();
        let mut file = if text.contains(LOCKED) {
            let unlock = unlock.ok_or(CaError::Locked)?;
            let cipher = Cipher::new(unlock.0.clone());
            let der = cipher.open(&body(text)?).ok_or(CaError::InvalidUnlockKey)?;
            let lock = Lock { key: Some(unlock.clone()), version };
            let open = |value: &str| cipher.open(&STANDARD.decode(value).ok()?);
            Self {
                key_pem: pem::encode("PRIVATE KEY", &der),
                lock,
                raft: raft_keys(&headers, open)?,
            }
        } else {
            let key = pem::private_key(text.as_bytes())?;
            let open = |value: &str| STANDARD.decode(value).ok();
            Self {
                key_pem: pem::encode("PRIVATE KEY", key.secret_pkcs8_der()),
                lock: Lock { key: None, version },
                raft: raft_keys(&headers, open)?,
            }
        };
        file.raft.needs_rotation = headers.contains_key(DEK_NEEDS_ROTATION);
        Ok(file)
    }

    /// The file's text.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, CaError> {
        let key = pem::private_key(&self.key_pem)?;
        let cipher = self.lock.key.as_ref().map(|key| Cipher::new(key.0.clone()));
        let sealed = |plain: &[u8]| match &cipher {
            Some(cipher) => cipher.seal(plain),
            None => plain.to_vec(),
        };
        let label = if cipher.is_some() { LOCKED } else { "PRIVATE KEY" };
        let mut headers = Vec::new();
        if self.lock != Lock::default() {
            headers.push(format!("{KEK_VERSION}: {}", self.lock.version));
        }
        for (name, key) in [(DEK, &self.raft.current), (DEK_PENDING, &self.raft.pending)] {
            if let Some(key) = key {
                headers.push(format!("{name}: {}", STANDARD.encode(sealed(key.as_bytes()))));
            }
        }
        if self.raft.needs_rotation {
            headers.push(format!("{DEK_NEEDS_ROTATION}: true"));
        }
        let block = pem::encode(label, &sealed(key.secret_pkcs8_der()));
        Ok(with_headers(block, &headers))
    }
}

fn raft_keys(
    headers: &BTreeMap<&str, &str>,
    open: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<RaftKeys, CaError> {
    let key = |name| match headers.get(name) {
        None => Ok(None),
        Some(value) => open(value)
            .and_then(|bytes| SecretKey::from_slice(&bytes))
            .map(Some)
            .ok_or(CaError::MalformedKey),
    };
    Ok(RaftKeys { current: key(DEK)?, pending: key(DEK_PENDING)?, needs_rotation: false })
}

fn headers(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(": ")).collect()
}

/// The bytes of the only block.
fn body(text: &str) -> Result<Vec<u8>, CaError> {
    let lines = text.lines().filter(|line| !line.starts_with("-----") && !line.contains(':'));
    let joined: String = lines.map(str::trim).collect();
    STANDARD.decode(joined).map_err(|_| CaError::MalformedKey)
}

/// Puts headers, and the blank line that ends them, behind the first line.
fn with_headers(block: Vec<u8>, headers: &[String]) -> Vec<u8> {
    if headers.is_empty() {
        return block;
    }
    let end = block.iter().position(|byte| *byte == b'\n').map_or(block.len(), |end| end + 1);
    let (first, rest) = block.split_at(end);
    [first, headers.join("\n").as_bytes(), b"\n\n", rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningRequest;

    fn file(lock: Lock) -> KeyFile {
        let key_pem = SigningRequest::generate().expect("a key").key_pem().to_vec();
        let raft = RaftKeys {
            current: Some(SecretKey::generate()),
            pending: Some(SecretKey::generate()),
            needs_rotation: true,
        };
        KeyFile { key_pem, lock, raft }
    }

    #[test]
    fn an_open_file_comes_back() {
        let file = file(Lock::default());
        let text = file.encode().expect("encodes");
        let back = KeyFile::decode(&text, None).expect("decodes");
        assert_eq!((back.key_pem, back.lock, back.raft), (file.key_pem, file.lock, file.raft));
        // Whoever reads it as a TLS key finds one.
        pem::private_key(&text).expect("headers are skipped");
    }

    #[test]
    fn a_locked_file_opens_to_its_key_only() {
        let key = UnlockKey::generate();
        let file = file(Lock { key: Some(key.clone()), version: 7 });
        let text = file.encode().expect("encodes");
        assert!(matches!(KeyFile::decode(&text, None), Err(CaError::Locked)));
        let other = UnlockKey::generate();
        assert!(matches!(KeyFile::decode(&text, Some(&other)), Err(CaError::InvalidUnlockKey)));
        let back = KeyFile::decode(&text, Some(&key)).expect("decodes");
        assert_eq!(
            (back.key_pem, back.lock, back.raft),
            (file.key_pem, file.lock, file.raft.clone())
        );
        for secret in [file.raft.current, file.raft.pending].into_iter().flatten() {
            let plain = STANDARD.encode(secret.as_bytes());
            assert!(!String::from_utf8_lossy(&text).contains(&plain));
        }
        let mut damaged = text.clone();
        damaged.truncate(text.len() / 2);
        assert!(KeyFile::decode(&damaged, Some(&key)).is_err());
    }
}

//! A backup as bytes: a header that says how to read it, the content, perhaps encrypted, and a checksum of both.
//!
//! ```text
//!   magic 8 | format u32 | rounds u32 | salt 16 | length u64 || content || SHA-256 of all before
//! ```
//!
//! Rounds are 0 where the content is not encrypted. What is wrong is told in the order in which it can be known: no
//! backup at all, another format, cut off, damaged, and only then the key.

use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::seal::{self, SALT_BYTES};

const MAGIC: &[u8; 8] = b"swarmbak";
/// The only format that there is.
const FORMAT: u32 = 1;
pub(super) const HEADER_BYTES: usize = 8 + 4 + 4 + SALT_BYTES + 8;
const CHECKSUM_BYTES: usize = 32;

/// The file of a content, encrypted if there is a key.
pub(super) fn encode(plain: Vec<u8>, key: Option<&str>) -> Result<Vec<u8>, BackupError> {
    let rounds = if key.is_some() { seal::ROUNDS } else { 0 };
    let length = plain.len() + if key.is_some() { seal::TAG_BYTES } else { 0 };
    let mut salt = [0; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    let mut file = Vec::with_capacity(HEADER_BYTES + length + CHECKSUM_BYTES);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&rounds.to_le_bytes());
    file.extend_from_slice(&salt);
    file.extend_from_slice(&(length as u64).to_le_bytes());
    let content = match key {
        None => plain,
        Some(key) => seal::seal(key, &salt, rounds, &file, plain)?,
    };
    file.extend_from_slice(&content);
    let checksum = Sha256::digest(&file);
    file.extend_from_slice(&checksum);
    Ok(file)
}

/// The content of a file.
pub(super) fn decode(file: &[u8], key: Option<&str>) -> Result<Vec<u8>, BackupError> {
    if !file.starts_with(MAGIC) {
        return Err(BackupError::NotABackup);
    }
    let truncated = |expected: u64| BackupError::Truncated { found: file.len(), expected };
    let Some((header, rest)) = file.split_first_chunk::<HEADER_BYTES>() else {
        return Err(truncated((HEADER_BYTES + CHECKSUM_BYTES) as u64));
    };
    let found = word(header, 8);
    if found != FORMAT {
        return Err(BackupError::Format { found, known: FORMAT });
    }
    let length = u64::from(word(header, 32)) | u64::from(word(header, 36)) << 32;
    let expected = length.saturating_add((HEADER_BYTES + CHECKSUM_BYTES) as u64);
    match (file.len() as u64).cmp(&expected) {
        std::cmp::Ordering::Less => return Err(truncated(expected)),
        std::cmp::Ordering::Greater => return Err(BackupError::Damaged),
        std::cmp::Ordering::Equal => {}
    }
    let (content, checksum) = rest.split_at(rest.len() - CHECKSUM_BYTES);
    if Sha256::digest(&file[..file.len() - CHECKSUM_BYTES])[..] != *checksum {
        return Err(BackupError::Damaged);
    }
    let rounds = word(header, 12);
    match (rounds, key) {
        // A key that is not needed does no harm: whoever restores may not know.
        (0, _) => Ok(content.to_vec()),
        (_, None) => Err(BackupError::KeyNeeded),
        (_, Some(key)) => {
            seal::open(key, &header[16..16 + SALT_BYTES], rounds, header, content.to_vec())
        }
    }
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

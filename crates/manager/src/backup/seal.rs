//! A backup's encryption: ChaCha20-Poly1305 under a key derived by PBKDF2 from a passphrase and the file's own salt.
//!
//! Each file has a salt of its own and so a key that is used once, which is why the nonce may be zero.

use std::num::NonZeroU32;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};

use super::BackupError;

/// Bytes of a file's salt.
pub(super) const SALT_BYTES: usize = 16;
/// Bytes that encryption adds.
pub(super) const TAG_BYTES: usize = 16;
/// What OWASP asks for with this hash (2023). A person waits for it once, an unoptimised test does not.
pub(super) const ROUNDS: u32 = if cfg!(test) { 1_000 } else { 600_000 };
/// More rounds than any version of ours asks for: a forged file must not keep the daemon busy.
const ROUNDS_MAX: u32 = 10_000_000;

/// Encrypts; `header` is authenticated too.
pub(super) fn seal(
    key: &str,
    salt: &[u8],
    rounds: u32,
    header: &[u8],
    mut plain: Vec<u8>,
) -> Result<Vec<u8>, BackupError> {
    let sealing = derived(key, salt, rounds).ok_or(BackupError::Seal)?;
    sealing
        .seal_in_place_append_tag(once(), Aad::from(header), &mut plain)
        .map_err(|_| BackupError::Seal)?;
    Ok(plain)
}

/// Decrypts what [`seal`] made.
pub(super) fn open(
    key: &str,
    salt: &[u8],
    rounds: u32,
    header: &[u8],
    mut sealed: Vec<u8>,
) -> Result<Vec<u8>, BackupError> {
    if rounds > ROUNDS_MAX {
        return Err(BackupError::Damaged);
    }
    let opening = derived(key, salt, rounds).ok_or(BackupError::Damaged)?;
    let length = opening
        .open_in_place(once(), Aad::from(header), &mut sealed)
        .map_err(|_| BackupError::WrongKey)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}

fn derived(key: &str, salt: &[u8], rounds: u32) -> Option<LessSafeKey> {
    let mut bytes = [0; 32];
    pbkdf2::derive(PBKDF2_HMAC_SHA256, NonZeroU32::new(rounds)?, salt, key.as_bytes(), &mut bytes);
    UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok().map(LessSafeKey::new)
}

fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

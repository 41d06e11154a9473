//! Content digests: the names of blobs, layers and images.
//!
//! Only SHA-256 is accepted, like every registry and engine in use; another algorithm is refused by name.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

const ALGORITHM: &str = "sha256";
const HEX_LEN: usize = 64;

/// `sha256:` and 64 lower-case hexadecimal digits, checked on the way in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Parses `sha256:<hex>`; the messages are go-digest's.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(Error::invalid("invalid checksum digest format"));
        };
        if algorithm != ALGORITHM {
            return Err(Error::invalid("unsupported digest algorithm"));
        }
        if hex.len() != HEX_LEN {
            return Err(Error::invalid("invalid checksum digest length"));
        }
        if !is_lower_hex(hex) {
            return Err(Error::invalid("invalid checksum digest format"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::digest(bytes).as_slice())
    }

    /// The chain ID of a layer on top of `parent` (OCI image spec, "Layer ChainID").
    pub fn chain(parent: Option<&Digest>, diff_id: &Digest) -> Self {
        match parent {
            None => diff_id.clone(),
            Some(parent) => Self::of(format!("{parent} {diff_id}").as_bytes()),
        }
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first 12 digits, as people see them.
    pub fn short(&self) -> &str {
        self.hex().get(..12).unwrap_or_default()
    }

    /// The whole text, with its algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_hash(hash: &[u8]) -> Self {
        Self(format!("{ALGORITHM}:{}", hex::encode(hash)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Whether `text` is hexadecimal in lower case.
pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Passes bytes through, counts them and computes their digest.
pub(crate) struct HashingReader<R> {
    inner: R,
    hash: Sha256,
    size: u64,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// Reads what is left, so that the digest covers the padding behind an archive's end, too.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((Digest::from_hash(self.hash.finalize().as_slice()), self.size))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_parse_or_say_why() {
        let good = format!("sha256:{}", "a".repeat(64));
        assert_eq!(Digest::parse(&good).expect("valid").short(), "aaaaaaaaaaaa");
        for (text, message) in [
            ("", "invalid checksum digest format"),
            ("sha256:ab", "invalid checksum digest length"),
            ("md5:abcd", "unsupported digest algorithm"),
            (&format!("sha256:{}", "A".repeat(64)), "invalid checksum digest format"),
            (&format!("sha256:../{}", "a".repeat(61)), "invalid checksum digest format"),
        ] {
            assert_eq!(Digest::parse(text).expect_err(text).to_string(), message, "{text}");
        }
    }

    #[test]
    fn chain_ids_follow_the_image_spec() {
        let first = Digest::of(b"a");
        let second = Digest::of(b"b");
        assert_eq!(Digest::chain(None, &first), first);
        assert_eq!(
            Digest::chain(Some(&first), &second),
            Digest::of(format!("{first} {second}").as_bytes())
        );
    }
}

//! Join tokens: the digest of the cluster's root certificate and a secret, in one word that a person can paste.
//!
//! Mirrors `ca/config.go`: `SWMTKN-1-<50 digits of base 36>-<25 digits of base 36>`, and `SWMTKN-2-<0|1>-…` for
//! clusters that require FIPS.

use std::fmt;
use std::str::FromStr;

use rand::RngCore;

use crate::number::{from_base36, to_base36};
use crate::{CaError, RootDigest};

const DIGEST_LENGTH: usize = 50;
const SECRET_LENGTH: usize = 25;
const SECRET_BYTES: usize = 16;

/// A join token in its parts. It has no `Debug` that shows the secret.
#[derive(Clone)]
pub struct JoinToken {
    digest: RootDigest,
    secret: String,
    version: u8,
    fips: bool,
}

impl JoinToken {
    /// A token with a fresh random secret for the cluster with this root.
    pub fn generate(digest: RootDigest) -> Self {
        let mut bytes = [0u8; SECRET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self { digest, secret: to_base36(&bytes, SECRET_LENGTH), version: 1, fips: false }
    }

    /// Reads a token.
    pub fn parse(text: &str) -> Result<Self, CaError> {
        let parts: Vec<&str> = text.split('-').collect();
        let (version, fips, digest, secret) = match parts.as_slice() {
            ["SWMTKN", "1", digest, secret] => (1, false, digest, secret),
            ["SWMTKN", "2", fips @ ("0" | "1"), digest, secret] => {
                (2, *fips == "1", digest, secret)
            }
            _ => return Err(CaError::InvalidJoinToken),
        };
        if digest.len() != DIGEST_LENGTH || secret.len() != SECRET_LENGTH {
            return Err(CaError::InvalidJoinToken);
        }
        let digest = from_base36(digest).map(RootDigest).ok_or(CaError::InvalidJoinToken)?;
        Ok(Self { digest, secret: (*secret).to_owned(), version, fips })
    }

    /// The digest that the cluster's root certificates must have.
    pub fn digest(&self) -> RootDigest {
        self.digest
    }

    /// Whether the cluster requires its nodes to run in FIPS mode.
    pub fn fips(&self) -> bool {
        self.fips
    }

    /// Whether a text that someone sent is this token, in a time that tells nothing about where they differ.
    pub fn matches(&self, presented: &str) -> bool {
        constant_time_eq(self.to_string().as_bytes(), presented.as_bytes())
    }
}

/// Compares in a time that depends on the lengths alone.
fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && std::hint::black_box(a.iter().zip(b).fold(0u8, |differ, (x, y)| differ | (x ^ y))) == 0
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = to_base36(&self.digest.0, DIGEST_LENGTH);
        match self.version {
            1 => write!(f, "SWMTKN-1-{digest}-{}", self.secret),
            version => {
                write!(f, "SWMTKN-{version}-{}-{digest}-{}", u8::from(self.fips), self.secret)
            }
        }
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = CaError;

    fn from_str(text: &str) -> Result<Self, CaError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "00000000000000000000000000000000000000000000000010";
    const SECRET: &str = "0123456789abcdefghijklmno";

    #[test]
    fn parses_what_swarmkit_parses() {
        for (text, fips) in [
            (format!("SWMTKN-1-{DIGEST}-{SECRET}"), Some(false)),
            (format!("SWMTKN-2-1-{DIGEST}-{SECRET}"), Some(true)),
            (format!("SWMTKN-2-0-{DIGEST}-{SECRET}"), Some(false)),
            (format!("SWMTKN-2-{DIGEST}-{SECRET}"), None),
            (format!("SWMTKN-2-2-{DIGEST}-{SECRET}"), None),
            (format!("SWMTKN-1-1-{DIGEST}-{SECRET}"), None),
            (format!("SWMTKN-3-{DIGEST}-{SECRET}"), None),
            (format!("swmtkn-1-{DIGEST}-{SECRET}"), None),
            (format!("SWMTKN-1-{DIGEST}-{SECRET}x"), None),
            (format!("SWMTKN-1-{}-{SECRET}", "z".repeat(50)), None),
            (format!("SWMTKN-1-{}-{SECRET}", "_".repeat(50)), None),
            (String::new(), None),
            ("SWMTKN".to_owned(), None),
        ] {
            let parsed = JoinToken::parse(&text);
            assert_eq!(parsed.as_ref().ok().map(JoinToken::fips), fips, "{text}");
            if let Ok(token) = parsed {
                assert_eq!(token.to_string(), text);
                assert_eq!(token.digest().0[31], 36);
                assert!(token.matches(&text));
                assert!(!token.matches(&text[..text.len() - 1]));
                assert!(!token.matches(&text.replace('1', "2")));
            }
        }
    }

    #[test]
    fn generated_tokens_differ_and_parse() {
        let digest = RootDigest([7; 32]);
        let (a, b) = (JoinToken::generate(digest), JoinToken::generate(digest));
        assert!(!a.matches(&b.to_string()));
        assert_eq!(JoinToken::parse(&a.to_string()).map(|t| t.digest()).ok(), Some(digest));
        assert!(!format!("{a:?}").contains(&a.secret));
    }
}

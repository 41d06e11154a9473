//! The unlock key as a person keeps it, and what it does to a manager's disk.
//!
//! Mirrors SwarmKit's `HumanReadableKey` and `ParseHumanReadableKey`: `SWMKEY-1-<43 characters of base 64>`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::{CaError, SecretKey};

const PREFIX: &str = "SWMKEY-1-";

/// The key that unlocks managers. `Display` shows it, for those whom it is for; `Debug` doesn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlockKey(pub SecretKey);

impl UnlockKey {
    /// A new key.
    pub fn generate() -> Self {
        Self(SecretKey::generate())
    }
}

impl fmt::Display for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD_NO_PAD.encode(self.0.as_bytes()))
    }
}

impl FromStr for UnlockKey {
    type Err = CaError;

    fn from_str(text: &str) -> Result<Self, CaError> {
        let bytes = text.strip_prefix(PREFIX).and_then(|rest| STANDARD_NO_PAD.decode(rest).ok());
        let key = bytes.as_deref().and_then(SecretKey::from_slice);
        key.map(Self).ok_or(CaError::MalformedUnlockKey)
    }
}

/// Whether, and with what, a manager's key file is locked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The key; none where the manager starts without being unlocked.
    pub key: Option<UnlockKey>,
    /// The version of the cluster object that said so: what an older one says is no news.
    pub version: u64,
}

impl Lock {
    /// Whether a lock that the cluster object tells of is to replace this one.
    pub fn is_replaced_by(&self, told: &Self) -> bool {
        told.key != self.key && told.version > self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_docker_writes_them() {
        // Made by `docker swarm init --autolock` of a stock engine 20.10.
        let text = "SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8";
        let key: UnlockKey = text.parse().expect("a key");
        assert_eq!(key.to_string(), text);
        assert!(!format!("{key:?}").contains("7c37"));
        for wrong in ["", "SWMKEY-1-", "SWMKEY-2-7c37", &text[1..], &text[..40], "SWMKEY-1-%%%%"] {
            let refused = wrong.parse::<UnlockKey>().expect_err(wrong);
            assert_eq!(refused.to_string(), "invalid key string");
        }
    }

    #[test]
    fn only_newer_and_other_keys_replace() {
        let (a, b) = (UnlockKey::generate(), UnlockKey::generate());
        let lock = |key: Option<&UnlockKey>, version| Lock { key: key.cloned(), version };
        for (from, to, expect) in [
            (lock(None, 0), lock(Some(&a), 5), true),
            (lock(Some(&a), 0), lock(Some(&a), 5), false),
            (lock(Some(&a), 5), lock(Some(&b), 9), true),
            (lock(Some(&b), 9), lock(Some(&a), 5), false),
            (lock(Some(&b), 9), lock(None, 12), true),
            (lock(Some(&b), 9), lock(None, 9), false),
        ] {
            assert_eq!(from.is_replaced_by(&to), expect);
        }
    }
}

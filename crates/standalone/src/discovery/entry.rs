//! One engine as a discovery service names it: `host:port`.

use std::fmt;

use thiserror::Error;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub(crate) host: String,
    pub(crate) port: String,
}

/// Not an address, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("address {address}: {problem}")]
pub(crate) struct EntryError {
    address: String,
    problem: &'static str,
}

impl Entry {
    /// As Go's `net.SplitHostPort`.
    pub(crate) fn parse(address: &str) -> Result<Self, EntryError> {
        let failed = |problem| EntryError { address: address.to_owned(), problem };
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, after) =
                    rest.split_once(']').ok_or_else(|| failed("missing ']' in address"))?;
                match after.strip_prefix(':') {
                    Some(port) if !port.contains(':') => (host, port),
                    Some(_) => return Err(failed("too many colons in address")),
                    None => return Err(failed("missing port in address")),
                }
            }
            None => {
                let (host, port) =
                    address.rsplit_once(':').ok_or_else(|| failed("missing port in address"))?;
                if host.contains(':') {
                    return Err(failed("too many colons in address"));
                }
                (host, port)
            }
        };
        Ok(Self { host: host.to_owned(), port: port.to_owned() })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Whether others can dial this: a host, and a port that is a number.
pub(crate) fn is_address(text: &str) -> bool {
    Entry::parse(text).is_ok_and(|entry| {
        let is_number = entry.port.chars().all(|c| c.is_ascii_digit());
        is_number && entry.port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for (text, expect) in [
            ("1.1.1.1:1111", true),
            ("hostname:1111", true),
            ("host-name_42:1111", true),
            ("[2001:db8:0:f101::3]:2375", true),
            ("127.0.0.1:65535", true),
            (":2375", true),
            ("1.1.1.1", false),
            ("1.1.1.1:", false),
            ("hostname:0", false),
            ("hostname:65536", false),
            ("hostname:-1", false),
            ("http://hostname:1", false),
            ("1.1.1.1: 4000", false),
            ("1.1.1.1:m2", false),
            ("2001:db8:0:f101::3:2375", false),
            ("[2001:db8::3]:3:2375", false),
            ("[2001:db8::3", false),
        ] {
            assert_eq!(is_address(text), expect, "{text}");
        }
        let shown = Entry::parse("[::1]:2375").map(|entry| entry.to_string());
        assert_eq!(shown.as_deref(), Ok("[::1]:2375"));
        let refused = Entry::parse("1.1.1.1").expect_err("no port").to_string();
        assert_eq!(refused, "address 1.1.1.1: missing port in address");
    }
}

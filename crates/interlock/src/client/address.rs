//! Where a cluster's API is: `tcp://host:port`, `https://…`, `unix:///path`.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Not an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AddressError {
    #[error("{0} is no address of a cluster: give tcp://HOST:PORT or unix:///PATH")]
    Malformed(String),
    #[error("{0} needs --swarm-tls-ca-cert, or --swarm-allow-insecure")]
    NeedsCertificates(String),
    #[error("{0} is a socket of this machine: leave the TLS flags out")]
    NoTls(String),
}

impl Address {
    /// Reads an address; without a port, Docker's own is meant.
    pub(crate) fn parse(url: &str, is_tls: bool) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(url.to_owned());
        let (scheme, rest) = url.split_once("://").unwrap_or(("tcp", url));
        match scheme {
            "unix" if rest.is_empty() => return Err(malformed()),
            "unix" if is_tls => return Err(AddressError::NoTls(url.to_owned())),
            "unix" => return Ok(Self::Unix(rest.into())),
            "https" if !is_tls => return Err(AddressError::NeedsCertificates(url.to_owned())),
            "tcp" | "http" | "https" => {}
            _ => return Err(malformed()),
        }
        let rest = rest.trim_end_matches('/');
        let port = if is_tls { TLS_PORT } else { PLAIN_PORT };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, port),
            Some((host, port)) => {
                let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
                (host, port.ok_or_else(malformed)?)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, port.parse().map_err(|_| malformed())?),
                None => (rest, port),
            },
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:%".contains(c);
        if host.is_empty() || port == 0 || !host.chars().all(is_name) {
            return Err(malformed());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }

    /// The host; this machine's own for a socket.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "127.0.0.1",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, expect) in [
            ("tcp://10.0.0.1:3375", "tcp://10.0.0.1:3375"),
            ("10.0.0.1:3375", "tcp://10.0.0.1:3375"),
            ("http://manager/", "tcp://manager:2375"),
            ("tcp://[::1]:4000", "tcp://[::1]:4000"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("unix:///run/swarm.sock", "unix:///run/swarm.sock"),
        ] {
            assert_eq!(Address::parse(url, false).expect("an address").to_string(), expect);
        }
        for url in ["", "tcp://", "tcp://:1", "tcp://a:b", "tcp://a:70000", "npipe://a", "unix://"]
        {
            assert_eq!(Address::parse(url, false), Err(AddressError::Malformed(url.into())));
        }
        assert_eq!(Address::parse("tcp://a b:1", false).map_err(|_| ()), Err(()));
    }
}

//! Which addresses a member listens on and tells others, out of what the user gave and what the machine has.
//!
//! Mirrors moby's `daemon/cluster/listen_addr.go`; the choice among interfaces is the room `network`'s.

use std::net::{IpAddr, SocketAddr};

use ipnet::Ipv4Net;
use swarm_network::addresses::{HostAddress, host_addresses};
use swarm_network::advertise::{AdvertiseError, resolve as resolve_host, resolve_advertise};

use crate::error::NodeError;

/// The port that managers listen on unless told otherwise.
pub(crate) const MANAGER_PORT: u16 = 2377;

/// The addresses of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Where a manager listens.
    pub(crate) listen: SocketAddr,
    /// What others dial; none where a worker could not tell.
    pub(crate) advertise: Option<SocketAddr>,
    /// The data path's, where it differs.
    pub(crate) data_path: Option<IpAddr>,
}

/// What the user gave; empty texts mean defaults.
pub(crate) struct Given<'a> {
    pub(crate) listen: &'a str,
    pub(crate) advertise: &'a str,
    pub(crate) data_path: &'a str,
    pub(crate) default_advertise: &'a str,
    /// The engine's own subnets, which no other node reaches.
    pub(crate) managed: &'a [Ipv4Net],
}

/// Resolves what the user gave on this machine. A founder must be reachable (`must_advertise`); a joining node's
/// address can also be learned by the manager it dials.
pub(crate) fn resolve(given: &Given<'_>, must_advertise: bool) -> Result<Addresses, NodeError> {
    let host = host_addresses().map_err(|error| NodeError::system(error.to_string()))?;
    resolve_on(given, must_advertise, &host)
}

fn resolve_on(
    given: &Given<'_>,
    must_advertise: bool,
    host: &[HostAddress],
) -> Result<Addresses, NodeError> {
    let (listen_host, listen_port) =
        split(given.listen, MANAGER_PORT).ok_or_else(|| invalid(&AdvertiseError::BadListen))?;
    let listen_host = if listen_host.is_empty() { "0.0.0.0" } else { listen_host };
    let listen_ip =
        resolve_host(listen_host, host, true).map_err(|_| invalid(&AdvertiseError::BadListen))?;
    let listen = SocketAddr::new(listen_ip, listen_port);
    let (advertise_host, port) = split(given.advertise, listen_port)
        .ok_or_else(|| invalid(&AdvertiseError::BadAdvertise))?;
    // A single listening address is also the one to tell others.
    let listen_text = listen_ip.to_string();
    let advertise_host = match advertise_host {
        "" if given.default_advertise.is_empty() && !listen_ip.is_unspecified() => &*listen_text,
        text => text,
    };
    let advertise =
        match resolve_advertise(advertise_host, given.default_advertise, host, given.managed) {
            Ok(ip) => Some(SocketAddr::new(ip, port)),
            Err(error) if must_advertise || !given.advertise.is_empty() => {
                return Err(invalid(&error));
            }
            Err(_) => None,
        };
    let data_path = match given.data_path {
        "" => None,
        text => Some(
            resolve_host(text, host, false).map_err(|_| invalid(&AdvertiseError::BadDataPath))?,
        ),
    };
    Ok(Addresses { listen, advertise, data_path })
}

fn invalid(error: &AdvertiseError) -> NodeError {
    NodeError::invalid(error.to_string())
}

/// Host and port of `host`, `host:port`, `[v6]:port` or a bare IPv6 address; none where the port is no number.
pub(crate) fn split(text: &str, default_port: u16) -> Option<(&str, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return match port {
            "" => Some((host, default_port)),
            port => Some((host, port.strip_prefix(':')?.parse().ok()?)),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, port.parse().ok()?)),
        _ => Some((text, default_port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_hosts_from_ports() {
        for (text, expect) in [
            ("", Some(("", 2377))),
            ("eth0", Some(("eth0", 2377))),
            ("10.0.0.1:99", Some(("10.0.0.1", 99))),
            ("[::1]:99", Some(("::1", 99))),
            ("[::1]", Some(("::1", 2377))),
            ("fe80::1", Some(("fe80::1", 2377))),
            ("10.0.0.1:port", None),
            ("10.0.0.1:99999", None),
        ] {
            assert_eq!(split(text, 2377), expect, "{text}");
        }
    }
}

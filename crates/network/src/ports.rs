//! Which host port a published port gets. Pure: a table of what is taken; binding is the caller's function.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Ports given to those who ask for none: the kernel's default range for outgoing connections, as in Docker.
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 32768..=60999;

/// A transport protocol that ports can be published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// The host port that is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostPort {
    /// Any free one of [`EPHEMERAL_PORTS`].
    #[default]
    Ephemeral,
    /// Exactly this one.
    Fixed(u16),
    /// The first free one from the first to the last, both included.
    Range(u16, u16),
}

/// A container's port to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The port in the container.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address that it is published on; none is all of them.
    pub host_ip: Option<IpAddr>,
    /// The wished port on the host.
    pub host_port: HostPort,
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// The port in the container.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address that it is published on; 0.0.0.0 is all of them.
    pub host_ip: Ipv4Addr,
    /// The port on the host.
    pub host_port: u16,
}

/// Why a port can't be published; the texts are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another container has it.
    #[error("Bind for {0} failed: port is already allocated")]
    Allocated(SocketAddrV4),
    /// Something else on the host has it, or the address is not the host's.
    #[error("failed to bind host port {address}/{protocol}: {}", reason(source))]
    Bind {
        /// The address and port.
        address: SocketAddrV4,
        /// The protocol.
        protocol: Protocol,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No port of the range is free.
    #[error("all ports are allocated")]
    Exhausted,
    /// Publishing on an IPv6 address, on a bridge without IPv6.
    #[error("invalid host IP {0}: the bridge has no IPv6 address")]
    Ipv6(IpAddr),
}

/// The ports that containers have, on any of the host's addresses.
#[derive(Debug, Default)]
pub struct PortTable {
    taken: BTreeSet<(Protocol, u16, Ipv4Addr)>,
    last_ephemeral: Option<u16>,
}

impl PortTable {
    /// Finds a port for a request and takes it. `bind` tries to get it from the kernel; what it returns is handed on.
    pub fn allocate<S>(
        &mut self,
        request: &PortRequest,
        mut bind: impl FnMut(SocketAddrV4, Protocol) -> io::Result<S>,
    ) -> Result<(PortMapping, S), PortError> {
        let host_ip = match request.host_ip {
            None => Ipv4Addr::UNSPECIFIED,
            Some(IpAddr::V4(address)) => address,
            Some(address @ IpAddr::V6(_)) => return Err(PortError::Ipv6(address)),
        };
        let protocol = request.protocol;
        let mut refusal = PortError::Exhausted;
        for host_port in self.candidates(request.host_port) {
            let address = SocketAddrV4::new(host_ip, host_port);
            let mapping = PortMapping {
                container_port: request.container_port,
                protocol,
                host_ip,
                host_port,
            };
            if self.is_taken(&mapping) {
                refusal = PortError::Allocated(address);
                continue;
            }
            match bind(address, protocol) {
                Ok(socket) => {
                    if request.host_port == HostPort::Ephemeral {
                        self.last_ephemeral = Some(host_port);
                    }
                    self.take(&mapping);
                    return Ok((mapping, socket));
                }
                Err(source) => refusal = PortError::Bind { address, protocol, source },
            }
        }
        Err(match request.host_port {
            HostPort::Ephemeral => PortError::Exhausted,
            HostPort::Fixed(_) | HostPort::Range(..) => refusal,
        })
    }

    /// Takes a port that was allocated before a restart.
    pub fn take(&mut self, mapping: &PortMapping) {
        self.taken.insert((mapping.protocol, mapping.host_port, mapping.host_ip));
    }

    /// Gives a port back.
    pub fn release(&mut self, mapping: &PortMapping) {
        self.taken.remove(&(mapping.protocol, mapping.host_port, mapping.host_ip));
    }

    /// Ports to try, in order; ephemeral ones go on after the last that was given out.
    fn candidates(&self, wish: HostPort) -> impl Iterator<Item = u16> + use<> {
        let (first, last) = match wish {
            HostPort::Fixed(port) => (port, port),
            HostPort::Range(first, last) => (first, last),
            HostPort::Ephemeral => EPHEMERAL_PORTS.into_inner(),
        };
        let start = match self.last_ephemeral {
            Some(port) if wish == HostPort::Ephemeral && port < last => port + 1,
            _ => first,
        };
        (start..=last).chain(first..start)
    }

    /// All addresses overlap with each of them.
    fn is_taken(&self, mapping: &PortMapping) -> bool {
        let all = (mapping.protocol, mapping.host_port, Ipv4Addr::UNSPECIFIED);
        let upper = (mapping.protocol, mapping.host_port, Ipv4Addr::BROADCAST);
        if mapping.host_ip.is_unspecified() {
            self.taken.range(all..=upper).next().is_some()
        } else {
            self.taken.contains(&all)
                || self.taken.contains(&(mapping.protocol, mapping.host_port, mapping.host_ip))
        }
    }
}

/// The kernel's reason in the words of its error table, as Docker prints them.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host_ip: &str, host_port: HostPort) -> PortRequest {
        let host_ip = (!host_ip.is_empty()).then(|| host_ip.parse().expect("an address"));
        PortRequest { container_port: 80, protocol: Protocol::Tcp, host_ip, host_port }
    }

    /// Ports from 9000 to 9001 are somebody else's.
    fn bind(address: SocketAddrV4, _: Protocol) -> io::Result<()> {
        match address.port() {
            9000..=9001 => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
            _ => Ok(()),
        }
    }

    fn check(table: &mut PortTable, host_ip: &str, port: HostPort, expect: &str) {
        let text = match table.allocate(&request(host_ip, port), bind) {
            Ok((mapping, ())) => format!("{}:{}", mapping.host_ip, mapping.host_port),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expect, "{host_ip} {port:?}");
    }

    #[test]
    fn allocate_in_turn() {
        use HostPort::{Ephemeral, Fixed, Range};
        let table = &mut PortTable::default();
        check(table, "", Fixed(8080), "0.0.0.0:8080");
        check(table, "", Fixed(8080), "Bind for 0.0.0.0:8080 failed: port is already allocated");
        check(
            table,
            "10.0.0.1",
            Fixed(8080),
            "Bind for 10.0.0.1:8080 failed: port is already allocated",
        );
        check(table, "10.0.0.1", Fixed(8081), "10.0.0.1:8081");
        check(table, "10.0.0.2", Fixed(8081), "10.0.0.2:8081");
        check(table, "", Fixed(8081), "Bind for 0.0.0.0:8081 failed: port is already allocated");
        check(
            table,
            "",
            Fixed(9000),
            "failed to bind host port 0.0.0.0:9000/tcp: address already in use",
        );
        check(table, "", Range(9000, 9003), "0.0.0.0:9002");
        check(table, "", Range(9000, 9003), "0.0.0.0:9003");
        check(
            table,
            "",
            Range(9002, 9003),
            "Bind for 0.0.0.0:9003 failed: port is already allocated",
        );
        check(table, "", Ephemeral, "0.0.0.0:32768");
        check(table, "", Ephemeral, "0.0.0.0:32769");
        check(table, "::1", Fixed(1), "invalid host IP ::1: the bridge has no IPv6 address");
    }

    #[test]
    fn released_ephemeral_ports_wait_their_turn() {
        let table = &mut PortTable::default();
        let ask = request("", HostPort::Ephemeral);
        let (first, ()) = table.allocate(&ask, bind).expect("free");
        table.release(&first);
        check(table, "", HostPort::Ephemeral, "0.0.0.0:32769");
        check(table, "", HostPort::Fixed(32768), "0.0.0.0:32768");
    }
}

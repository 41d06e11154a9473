//! By which address other nodes are to reach this one. Pure; mirrors `listen_addr.go` of Docker's cluster package,
//! with its texts (the CLI adds "- specify one with --advertise-addr" to two of them).

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::addresses::HostAddress;

/// Why no address could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertiseError {
    /// No usable address at all.
    #[error("could not find the system's IP address")]
    NoAddress,
    /// Several addresses of one family on one interface.
    #[error(
        "could not choose an IP address to advertise since this system has multiple addresses on interface {interface} ({first} and {second})"
    )]
    SeveralOnInterface {
        /// The interface.
        interface: String,
        /// One address.
        first: IpAddr,
        /// Another one.
        second: IpAddr,
    },
    /// Addresses on several interfaces.
    #[error(
        "could not choose an IP address to advertise since this system has multiple addresses on different interfaces ({0} on {1} and {2} on {3})"
    )]
    SeveralInterfaces(IpAddr, String, IpAddr, String),
    /// An interface was named that has several addresses of one family.
    #[error("interface {interface} has more than one {family} address ({first} and {second})")]
    Ambiguous {
        /// The interface.
        interface: String,
        /// IPv4 or IPv6.
        family: &'static str,
        /// One address.
        first: IpAddr,
        /// Another one.
        second: IpAddr,
    },
    /// Neither an interface nor an address.
    #[error("must specify a valid IP address or interface name")]
    BadIdentifier,
    /// The same for `--listen-addr`.
    #[error(
        "listen address must be an IP address or network interface (with optional port number)"
    )]
    BadListen,
    /// The same for `--advertise-addr`.
    #[error(
        "advertise address must be a non-zero IP address or network interface (with optional port number)"
    )]
    BadAdvertise,
    /// The same for `--data-path-addr`.
    #[error(
        "data path address must be a non-zero IP address or network interface (without a port number)"
    )]
    BadDataPath,
    /// The same for the daemon's `--swarm-default-advertise-addr`.
    #[error(
        "default advertise address must be a non-zero IP address or network interface (without a port number)"
    )]
    BadDefaultAdvertise,
}

/// The address that an interface's name or an address stands for; 0.0.0.0 and :: only where they make sense.
pub fn resolve(
    input: &str,
    addresses: &[HostAddress],
    unspecified_valid: bool,
) -> Result<IpAddr, AdvertiseError> {
    if let Some(address) = of_interface(input, addresses)? {
        return Ok(address);
    }
    match input.parse::<IpAddr>() {
        Ok(address) if unspecified_valid || !address.is_unspecified() => Ok(address),
        _ => Err(AdvertiseError::BadIdentifier),
    }
}

/// What `--advertise-addr` or, if it is empty, the daemon's default or the system's only address says.
pub fn resolve_advertise(
    input: &str,
    default_input: &str,
    addresses: &[HostAddress],
    managed: &[Ipv4Net],
) -> Result<IpAddr, AdvertiseError> {
    let renamed = |name: AdvertiseError| {
        move |error| if error == AdvertiseError::BadIdentifier { name } else { error }
    };
    if !input.is_empty() {
        return resolve(input, addresses, false).map_err(renamed(AdvertiseError::BadAdvertise));
    }
    if !default_input.is_empty() {
        return resolve(default_input, addresses, false)
            .map_err(renamed(AdvertiseError::BadDefaultAdvertise));
    }
    default_advertise(addresses, managed)
}

/// The system's only address: of its devices, or, on a machine whose links are all virtual (a container), of its
/// interfaces outside the subnets that the engine manages itself.
pub fn default_advertise(
    addresses: &[HostAddress],
    managed: &[Ipv4Net],
) -> Result<IpAddr, AdvertiseError> {
    let usable = addresses.iter().filter(|a| a.up && is_global_unicast(a.address.addr()));
    let devices: Vec<&HostAddress> = usable.clone().filter(|a| a.device).collect();
    if !devices.is_empty() {
        return only(&devices);
    }
    let usable: Vec<&HostAddress> = usable.collect();
    let is_managed = |name: &str| {
        usable.iter().any(|a| {
            a.interface == name && managed.iter().any(|subnet| contains(subnet, &a.address))
        })
    };
    let others: Vec<&HostAddress> =
        usable.iter().filter(|a| !is_managed(&a.interface)).copied().collect();
    only(&others)
}

/// The address of an interface of that name, IPv4 before IPv6; none if there is no such interface.
fn of_interface(name: &str, addresses: &[HostAddress]) -> Result<Option<IpAddr>, AdvertiseError> {
    let mut found = [None, None];
    for address in addresses.iter().filter(|a| a.interface == name).map(|a| a.address.addr()) {
        let (slot, family) = if address.is_ipv4() { (0, "IPv4") } else { (1, "IPv6") };
        if let Some(first) = found[slot].replace(address) {
            return Err(AdvertiseError::Ambiguous {
                interface: name.into(),
                family,
                first,
                second: address,
            });
        }
    }
    Ok(found[0].or(found[1]))
}

fn only(addresses: &[&HostAddress]) -> Result<IpAddr, AdvertiseError> {
    let mut chosen: Option<(&str, IpAddr)> = None;
    for group in addresses.chunk_by(|a, b| a.interface == b.interface) {
        let interface = group[0].interface.as_str();
        let of_group = only_of_interface(interface, group)?;
        if let Some((first_interface, first)) = chosen {
            return Err(AdvertiseError::SeveralInterfaces(
                first,
                first_interface.into(),
                of_group,
                interface.into(),
            ));
        }
        chosen = Some((interface, of_group));
    }
    chosen.map(|(_, address)| address).ok_or(AdvertiseError::NoAddress)
}

fn only_of_interface(interface: &str, group: &[&HostAddress]) -> Result<IpAddr, AdvertiseError> {
    let of_family = |v4: bool| {
        let mut family = group.iter().map(|a| a.address.addr()).filter(|a| a.is_ipv4() == v4);
        match (family.next(), family.next()) {
            (Some(first), Some(second)) => Err(AdvertiseError::SeveralOnInterface {
                interface: interface.into(),
                first,
                second,
            }),
            (first, _) => Ok(first),
        }
    };
    let (v4, v6) = (of_family(true)?, of_family(false)?);
    v4.or(v6).ok_or(AdvertiseError::NoAddress)
}

fn contains(subnet: &Ipv4Net, address: &IpNet) -> bool {
    matches!(address, IpNet::V4(address) if subnet.contains(&address.addr()))
}

fn is_global_unicast(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `eth0=10.0.0.1/24`; a leading `~` is a virtual link, a leading `-` one that is down.
    fn host(words: &str) -> Vec<HostAddress> {
        words
            .split_whitespace()
            .map(|word| {
                let (interface, address) = word.split_once('=').expect("name=address");
                HostAddress {
                    interface: interface.trim_start_matches(['~', '-']).into(),
                    address: address.parse().expect("a net"),
                    up: !interface.starts_with('-'),
                    device: !interface.starts_with('~'),
                }
            })
            .collect()
    }

    fn text(result: Result<IpAddr, AdvertiseError>) -> String {
        result.map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    #[test]
    fn default() {
        let managed = ["172.17.0.0/16".parse().expect("a subnet")];
        let several = "could not choose an IP address to advertise since this system has multiple addresses on";
        for (words, expect) in [
            ("lo=127.0.0.1/8 eth0=10.0.0.1/24", "10.0.0.1".to_owned()),
            ("lo=127.0.0.1/8 eth0=10.0.0.1/24 eth0=fd00::1/64 eth0=fe80::1/64", "10.0.0.1".into()),
            ("eth0=fd00::1/64", "fd00::1".into()),
            ("lo=127.0.0.1/8", "could not find the system's IP address".into()),
            ("-eth0=10.0.0.1/24", "could not find the system's IP address".into()),
            ("eth0=10.0.0.1/24 -eth1=10.0.1.1/24 ~docker0=172.17.0.1/16", "10.0.0.1".into()),
            (
                "eth0=10.0.0.1/24 eth0=10.0.0.2/24",
                format!("{several} interface eth0 (10.0.0.1 and 10.0.0.2)"),
            ),
            (
                "eth0=10.0.0.1/24 eth1=10.1.0.1/24",
                format!("{several} different interfaces (10.0.0.1 on eth0 and 10.1.0.1 on eth1)"),
            ),
            ("lo=127.0.0.1/8 ~eth0=10.0.0.1/24 ~docker0=172.17.0.1/16", "10.0.0.1".into()),
            (
                "~eth0=10.0.0.1/24 ~eth1=10.1.0.1/24",
                format!("{several} different interfaces (10.0.0.1 on eth0 and 10.1.0.1 on eth1)"),
            ),
        ] {
            assert_eq!(text(default_advertise(&host(words), &managed)), expect, "{words}");
        }
    }

    #[test]
    fn named() {
        let host = host("eth0=10.0.0.1/24 eth0=fd00::1/64 eth1=10.1.0.1/24 eth1=10.1.0.2/24");
        for (input, expect) in [
            ("eth0", "10.0.0.1"),
            ("10.9.9.9", "10.9.9.9"),
            ("eth1", "interface eth1 has more than one IPv4 address (10.1.0.1 and 10.1.0.2)"),
            (
                "eth7",
                "advertise address must be a non-zero IP address or network interface (with optional port number)",
            ),
            (
                "0.0.0.0",
                "advertise address must be a non-zero IP address or network interface (with optional port number)",
            ),
        ] {
            assert_eq!(text(resolve_advertise(input, "", &host, &[])), expect, "{input}");
        }
        assert_eq!(text(resolve_advertise("", "eth0", &host, &[])), "10.0.0.1");
        assert_eq!(text(resolve("0.0.0.0", &host, true)), "0.0.0.0");
    }
}

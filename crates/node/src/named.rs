//! A host name as `--listen-addr`: the address of this machine that it stands for.
//!
//! Docker's early documentation types one (`--listen-addr node01:2377`); Docker itself takes addresses and interfaces
//! only. A name that stands for none of this machine's addresses is left as it is, for `addresses` to refuse.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use swarm_network::addresses::{HostAddress, host_addresses};
use tokio::net::lookup_host;

use crate::addresses::{MANAGER_PORT, split};

/// Somebody waits for the answer to a command; names of this machine are in its own files as a rule.
const LOOKUP_MAX: Duration = Duration::from_secs(2);

/// `listen` with a host name replaced by this machine's address of that name.
pub(crate) async fn as_address(listen: &str) -> String {
    let found = async {
        let (name, port) = split(listen, MANAGER_PORT)?;
        let host = host_addresses().ok()?;
        if !is_name(name, &host) {
            return None;
        }
        let looked_up = tokio::time::timeout(LOOKUP_MAX, lookup_host((name, port))).await;
        let addresses: Vec<IpAddr> =
            looked_up.ok()?.ok()?.map(|address: SocketAddr| address.ip()).collect();
        Some(SocketAddr::new(own(&addresses, &host)?, port).to_string())
    };
    found.await.unwrap_or_else(|| listen.to_owned())
}

/// Whether it is neither an address nor an interface.
fn is_name(text: &str, host: &[HostAddress]) -> bool {
    !text.is_empty()
        && text.parse::<IpAddr>().is_err()
        && !host.iter().any(|address| address.interface == text)
}

/// The one that others can reach, if there is one: IPv4 first, as other nodes are told one address only.
fn own(found: &[IpAddr], host: &[HostAddress]) -> Option<IpAddr> {
    let is_own = |ip: &&IpAddr| host.iter().any(|address| address.address.addr() == **ip);
    found.iter().filter(is_own).min_by_key(|ip| (ip.is_loopback(), ip.is_ipv6())).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<HostAddress> {
        [("lo", "127.0.0.1/8"), ("eth0", "10.0.0.1/24"), ("eth0", "fd00::1/64")]
            .map(|(interface, address)| HostAddress {
                interface: interface.to_owned(),
                address: address.parse().expect("an address"),
                up: true,
                device: true,
            })
            .to_vec()
    }

    #[test]
    fn names_are_what_is_neither_address_nor_interface() {
        for (text, expect) in [
            ("", false),
            ("eth0", false),
            ("10.0.0.9", false),
            ("fd00::9", false),
            ("node01", true),
        ] {
            assert_eq!(is_name(text, &machine()), expect, "{text}");
        }
    }

    #[test]
    fn a_name_stands_for_an_address_of_this_machine() {
        for (found, expect) in [
            (vec!["127.0.0.1", "fd00::1", "10.0.0.1"], Some("10.0.0.1")),
            (vec!["fd00::1"], Some("fd00::1")),
            (vec!["127.0.0.1"], Some("127.0.0.1")),
            (vec!["127.0.1.1"], None),
            (vec!["10.0.0.2"], None),
            (vec![], None),
        ] {
            let found: Vec<IpAddr> =
                found.iter().map(|ip| ip.parse().expect("an address")).collect();
            let expect = expect.map(|ip: &str| ip.parse().expect("an address"));
            assert_eq!(own(&found, &machine()), expect, "{found:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_name_of_this_machine_is_left_as_it_is() {
        for listen in ["", "0.0.0.0:2377", "10.0.0.1", ":99", "no such name:2377"] {
            assert_eq!(as_address(listen).await, listen);
        }
        assert_eq!(as_address("localhost:99").await, "127.0.0.1:99");
    }
}

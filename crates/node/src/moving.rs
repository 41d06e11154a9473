//! Machines whose address changes: the node goes on under the new one.
//!
//! The advertised address is looked for on the machine when the daemon starts and every few seconds after. Where it is
//! gone, its interface's new one takes its place; a daemon that starts also takes `--swarm-default-advertise-addr`, or
//! the machine's only address. An address that never was this machine's, such as a NAT's, is left alone. Docker asks for
//! addresses of managers that never change.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use swarm_network::addresses::{HostAddress, host_addresses};
use swarm_network::advertise::{resolve, resolve_advertise};
use tracing::{info, warn};

use crate::addresses::Addresses;
use crate::post::Post;
use crate::state::{Record, SavedMembership};

/// How often a running node looks for its address: a move must be over before the node counts as dead, after 3 s.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The interface that has the advertised address.
fn interface_of(advertise: Option<SocketAddr>) -> String {
    let host = host_addresses().unwrap_or_default();
    let ip = advertise.map(|addr| addr.ip());
    let found = host.into_iter().find(|address| Some(address.address.addr()) == ip);
    found.map(|address| address.interface).unwrap_or_default()
}

/// Follows the machine's address when the daemon starts.
pub(crate) fn follow_at_start(
    saved: &mut SavedMembership,
    default_advertise: &str,
    managed: &[Ipv4Net],
) {
    let Ok(host) = host_addresses() else { return };
    if !is_lost(saved, &host) {
        return;
    }
    let next = match default_advertise {
        "" => of_interface(saved, &host).or_else(|| resolve_advertise("", "", &host, managed).ok()),
        _ => resolve_advertise("", default_advertise, &host, managed).ok(),
    };
    match next {
        Some(ip) => move_to(saved, ip, &host),
        None => warn!(
            addr = saved.advertise_addr,
            "this machine no longer has the advertised address, and there is no single other one: name it with --swarm-default-advertise-addr"
        ),
    }
}

/// Follows the address of the interface for ever.
pub(crate) async fn follow(record: Arc<Record>, post: Arc<Post>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(Ok(host)) = tokio::task::spawn_blocking(host_addresses).await else { continue };
        let mut saved = record.get();
        let lost = is_lost(&saved, &host);
        let Some(ip) = of_interface(&saved, &host).filter(|_| lost) else { continue };
        move_to(&mut saved, ip, &host);
        let SavedMembership { advertise_addr, listen_addr, .. } = saved;
        let changed = record.change(|saved| {
            saved.advertise_addr = advertise_addr;
            saved.listen_addr = listen_addr;
        });
        if let Err(error) = changed {
            warn!(%error, "remembering the new address failed");
        }
        post.address_changed();
    }
}

/// Whether the advertised address was this machine's and is no more.
fn is_lost(saved: &SavedMembership, host: &[HostAddress]) -> bool {
    let advertised = saved.advertise_addr.parse().ok().map(|addr: SocketAddr| addr.ip());
    !saved.advertise_interface.is_empty()
        && advertised.is_some_and(|ip| host.iter().all(|address| address.address.addr() != ip))
}

/// The address that the interface has by now, if it has one of that family.
fn of_interface(saved: &SavedMembership, host: &[HostAddress]) -> Option<IpAddr> {
    let is_v4 = saved.advertise_addr.parse::<SocketAddr>().ok()?.is_ipv4();
    let host: Vec<HostAddress> = host
        .iter()
        .filter(|address| {
            address.interface == saved.advertise_interface
                && address.address.addr().is_ipv4() == is_v4
        })
        .cloned()
        .collect();
    resolve(&saved.advertise_interface, &host, false).ok()
}

fn move_to(saved: &mut SavedMembership, ip: IpAddr, host: &[HostAddress]) {
    let Ok(old) = saved.advertise_addr.parse::<SocketAddr>() else { return };
    info!(from = %old.ip(), to = %ip, "this node's address has changed");
    // A manager that listened on the one address only goes on doing so.
    if let Ok(listen) = saved.listen_addr.parse::<SocketAddr>()
        && listen.ip() == old.ip()
    {
        saved.listen_addr = SocketAddr::new(ip, listen.port()).to_string();
    }
    saved.advertise_addr = SocketAddr::new(ip, old.port()).to_string();
    if let Some(address) = host.iter().find(|address| address.address.addr() == ip) {
        saved.advertise_interface.clone_from(&address.interface);
    }
}

/// A membership at these addresses, which it follows where this machine's change.
pub(crate) fn membership_at(addresses: &Addresses) -> SavedMembership {
    let mut saved = SavedMembership::new(
        addresses.listen.to_string(),
        addresses.advertise.map(|address| address.to_string()).unwrap_or_default(),
        addresses.data_path.map(|address| address.to_string()).unwrap_or_default(),
    );
    saved.advertise_interface = interface_of(addresses.advertise);
    saved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addresses: &[(&str, &str)]) -> Vec<HostAddress> {
        let address = |(interface, address): &(&str, &str)| HostAddress {
            interface: (*interface).to_owned(),
            address: address.parse().expect("an address"),
            up: true,
            device: true,
        };
        addresses.iter().map(address).collect()
    }

    #[test]
    fn only_an_address_that_was_the_machines_is_followed() {
        let eth0 = [("eth0", "10.0.0.2/24")];
        let two = [("eth0", "10.0.0.2/24"), ("eth0", "10.0.0.3/24")];
        let other = [("eth1", "10.0.0.2/24")];
        let both = [("eth0", "10.0.0.1/24"), ("eth0", "10.0.0.2/24")];
        for (interface, now, expect) in [
            ("eth0", &eth0[..], Some("10.0.0.2:2377")),
            ("", &eth0[..], None),
            ("eth0", &two[..], None),
            ("eth0", &other[..], None),
            ("eth0", &both[..], None),
            ("eth0", &[], None),
        ] {
            let mut saved =
                SavedMembership::new("10.0.0.1:2377".into(), "10.0.0.1:2377".into(), String::new());
            saved.advertise_interface = interface.to_owned();
            let host = host(now);
            let lost = is_lost(&saved, &host);
            let next = of_interface(&saved, &host).filter(|_| lost);
            if let Some(ip) = next {
                move_to(&mut saved, ip, &host);
            }
            let moved = (saved.advertise_addr != "10.0.0.1:2377").then_some(saved.advertise_addr);
            assert_eq!(moved.as_deref(), expect, "{interface} {now:?}");
            assert_eq!(saved.listen_addr, moved.unwrap_or("10.0.0.1:2377".into()));
        }
    }
}

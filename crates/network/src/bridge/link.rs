//! The bridge's own interface: created or taken over, with its address and the kernel settings that it needs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use crate::netlink::{Netlink, link_kind};
use crate::{Error, MacAddress, Result, subnet};

use super::BridgeConfig;

/// Creates the bridge or takes it over; its index, and its address with the subnet's prefix.
///
/// The subnet is the configured one, else what an existing bridge has, else what the state file says while it is
/// still free, else the first free one.
pub(super) fn ensure(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    recorded: Option<Ipv4Net>,
) -> Result<(u32, Ipv4Net)> {
    let existing = netlink.link_by_name(&config.name)?;
    if existing.as_ref().is_some_and(|link| link_kind(link).as_deref() != Some("bridge")) {
        return Err(Error::NotABridge(config.name.clone()));
    }
    let present = match &existing {
        Some(link) => addresses_of(netlink, link.header.index)?,
        None => Vec::new(),
    };
    let subnet = match config.bip.or_else(|| present.first().copied()) {
        Some(subnet) => subnet,
        None => choose(netlink, recorded)?,
    };
    let subnet = subnet::gateway(subnet).ok_or(Error::SubnetTooSmall(subnet))?;
    let index = match existing {
        Some(link) => link.header.index,
        None => create(netlink, config, subnet.addr())?,
    };
    for other in present.iter().filter(|address| **address != subnet) {
        netlink.delete_address(index, *other)?;
    }
    netlink.add_address(index, subnet)?;
    netlink.link_up(index)?;
    Ok((index, subnet))
}

/// Lets the kernel forward packets, and route those from the host's loopback to the bridge.
pub(super) fn allow_forwarding(bridge: &str) -> Result<()> {
    set("/proc/sys/net/ipv4/ip_forward".into())?;
    set(format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"))
}

/// Sets a kernel switch to 1; one that is on already need not be writable.
fn set(path: String) -> Result<()> {
    if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    fs::write(&path, "1").map_err(|source| Error::Setting { path: path.into(), source })
}

fn create(netlink: &mut Netlink, config: &BridgeConfig, address: Ipv4Addr) -> Result<u32> {
    netlink.add_bridge(&config.name, MacAddress::from_ipv4(address), config.mtu)?;
    match netlink.link_by_name(&config.name)? {
        Some(link) => Ok(link.header.index),
        None => Err(Error::NotABridge(config.name.clone())),
    }
}

fn choose(netlink: &mut Netlink, recorded: Option<Ipv4Net>) -> Result<Ipv4Net> {
    let addresses = netlink.addresses()?;
    let routes = netlink.routes_v4()?;
    let in_use: Vec<Ipv4Net> = addresses
        .iter()
        .filter_map(address_v4)
        .chain(routes.iter().filter_map(destination))
        .filter(|subnet| subnet.prefix_len() > 0)
        .collect();
    subnet::choose_with(recorded, &in_use).ok_or(Error::NoFreeSubnet)
}

fn addresses_of(netlink: &mut Netlink, index: u32) -> Result<Vec<Ipv4Net>> {
    let addresses = netlink.addresses()?;
    Ok(addresses.iter().filter(|a| a.header.index == index).filter_map(address_v4).collect())
}

fn address_v4(address: &AddressMessage) -> Option<Ipv4Net> {
    address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(ip)) => {
            Ipv4Net::new(*ip, address.header.prefix_len).ok()
        }
        _ => None,
    })
}

fn destination(route: &RouteMessage) -> Option<Ipv4Net> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => {
            Ipv4Net::new(*ip, route.header.destination_prefix_length).ok()
        }
        _ => None,
    })
}

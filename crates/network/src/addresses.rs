//! The host's interfaces and their addresses, as the kernel lists them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};

use crate::Result;
use crate::netlink::{Netlink, link_is_up, link_kind, link_name};

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// The interface's name.
    pub interface: String,
    /// The address with its subnet's prefix.
    pub address: IpNet,
    /// Whether the interface is up.
    pub up: bool,
    /// Whether it is a real device (or the loopback) and not a bridge, veth or other virtual link.
    pub device: bool,
}

/// All addresses, in the order of the interfaces. Blocks for less than a millisecond.
pub fn host_addresses() -> Result<Vec<HostAddress>> {
    let mut netlink = Netlink::open()?;
    let links: BTreeMap<u32, _> =
        netlink.links()?.into_iter().map(|link| (link.header.index, link)).collect();
    let mut addresses = netlink.addresses()?;
    addresses.sort_by_key(|address| address.header.index);
    let known = addresses.iter().filter_map(|address| {
        let link = links.get(&address.header.index)?;
        Some(HostAddress {
            interface: link_name(link)?.to_owned(),
            address: net(address)?,
            up: link_is_up(link),
            device: link_kind(link).is_none(),
        })
    });
    Ok(known.collect())
}

/// The interface's own address: on point-to-point links the kernel's `Address` is the other end's.
fn net(message: &AddressMessage) -> Option<IpNet> {
    let mut own: Option<IpAddr> = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => own = own.or(Some(*address)),
            _ => {}
        }
    }
    IpNet::new(own?, message.header.prefix_len).ok()
}

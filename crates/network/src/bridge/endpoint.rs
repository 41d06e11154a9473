//! A container's link: a veth pair, one end a port of the bridge, the other with its address in the namespace.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Mutex;

use ipnet::Ipv4Net;

use crate::netlink::{Netlink, VethPair, link_controller, link_kind, link_name};
use crate::{Error, Result, netns};

use super::{Attachment, lock};

/// How containers are joined to the bridge.
#[derive(Debug)]
pub(super) struct BridgePort {
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) isolated: bool,
}

/// Makes the link and sets up the container's end.
pub(super) fn connect(
    netlink: &Mutex<Netlink>,
    port: &BridgePort,
    netns: &Path,
    attachment: &Attachment,
) -> Result<()> {
    create_pair(&mut lock(netlink), port, netns, attachment)?;
    netns::run_in(netns, || set_up_inside(attachment))?
}

/// Removes the bridge's veth ports whose names are not among these.
pub(super) fn remove_others(
    netlink: &mut Netlink,
    bridge: u32,
    keep: &BTreeSet<String>,
) -> Result<()> {
    let links = netlink.links()?;
    let ours = links.iter().filter(|link| {
        link_controller(link) == Some(bridge) && link_kind(link).as_deref() == Some("veth")
    });
    for name in ours.filter_map(link_name).filter(|name| !keep.contains(*name)) {
        netlink.delete_link(name)?;
    }
    Ok(())
}

fn create_pair(
    netlink: &mut Netlink,
    port: &BridgePort,
    netns: &Path,
    attachment: &Attachment,
) -> Result<()> {
    let namespace = File::open(netns).map_err(|source| Error::Namespace {
        operation: "open",
        path: netns.into(),
        source,
    })?;
    let pair = VethPair {
        name: &attachment.host_interface,
        bridge_index: port.index,
        peer_name: &attachment.interface,
        peer_mac: attachment.mac,
        peer_netns: namespace.as_raw_fd(),
        mtu: port.mtu,
    };
    // A link of that name is left from a daemon that died on the way: the name is this container's alone.
    netlink.delete_link(pair.name)?;
    netlink.add_veth(&pair)?;
    let Some(link) = netlink.link_by_name(pair.name)? else {
        return Err(vanished(pair.name));
    };
    netlink.set_bridge_port(link.header.index, true, port.isolated)
}

fn set_up_inside(attachment: &Attachment) -> Result<()> {
    disable_ipv6(&attachment.interface)?;
    let mut netlink = Netlink::open()?;
    let Some(link) = netlink.link_by_name(&attachment.interface)? else {
        return Err(vanished(&attachment.interface));
    };
    let address = Ipv4Net::new_assert(attachment.ipv4, attachment.prefix_len);
    netlink.link_up(link.header.index)?;
    netlink.add_address(link.header.index, address)?;
    netlink.add_default_route(attachment.gateway)
}

/// The bridge has no IPv6, and a link that returns its own frames would fail duplicate address detection.
fn disable_ipv6(interface: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    match fs::write(&path, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Setting { path: path.into(), source: error })
        }
        _ => Ok(()),
    }
}

fn vanished(name: &str) -> Error {
    Error::Netlink {
        operation: format!("find link {name}"),
        source: io::Error::from_raw_os_error(libc::ENODEV),
    }
}

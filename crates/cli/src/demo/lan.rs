//! The network of the demonstration: a switch that its hosts and this machine are plugged into.
//!
//! The switch has a namespace of its own, so this machine's firewall never sees what the hosts say to each other. All
//! that this machine gets is one link. Namespaces are held by open files: they need no mounts and leave none behind.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use anyhow::Context as _;
use ipnet::{IpNet, Ipv4Net};
use nix::sched::{CloneFlags, setns, unshare};
use swarm_network::MacAddress;
use swarm_network::addresses::{HostAddress, host_addresses};
use swarm_network::netlink::{Netlink, VethPair};

use super::keeper::on_scratch_thread;

const SWITCH: &str = "switch0";
/// This machine's link to the switch.
const LINK: &str = "swarm-demo";
/// A host's link to the switch.
const HOST_LINK: &str = "eth0";
const LOOPBACK: &str = "lo";
const MTU: u32 = 1500;
/// This machine's place in the subnet; hosts are numbered from 1.
const MACHINE: u8 = 254;

/// The switch. Dropping it removes this machine's link.
#[derive(Debug)]
pub(super) struct Lan {
    namespace: File,
    /// The third byte of 10.99.N.0/24.
    block: u8,
}

impl Lan {
    /// Makes the switch and plugs this machine in.
    pub(super) fn make() -> anyhow::Result<Self> {
        let block = free_block(&host_addresses()?)?;
        let lan = Self { namespace: namespace()?, block };
        let mac = MacAddress::from_ipv4(lan.address(0));
        inside(&lan.namespace, || Ok(Netlink::open()?.add_bridge(SWITCH, mac, MTU)?))?;
        let here = File::open("/proc/self/ns/net").context("opening this machine's network")?;
        lan.plug_in(&here, LINK, MACHINE)?;
        Ok(lan)
    }

    /// The address of host number `number`.
    pub(super) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.block, number)
    }

    /// A network for host number `number`, plugged in.
    pub(super) fn host(&self, number: u8) -> anyhow::Result<File> {
        let host = namespace()?;
        self.plug_in(&host, HOST_LINK, number)?;
        Ok(host)
    }

    fn plug_in(&self, network: &File, link: &str, number: u8) -> anyhow::Result<()> {
        let address = self.address(number);
        inside(&self.namespace, || {
            let mut netlink = Netlink::open()?;
            let switch = netlink.link_by_name(SWITCH)?.context("the switch is gone")?;
            netlink.add_veth(&VethPair {
                name: &format!("port{number}"),
                bridge_index: switch.header.index,
                peer_name: link,
                peer_mac: MacAddress::from_ipv4(address),
                peer_netns: network.as_raw_fd(),
                mtu: MTU,
            })?;
            Ok(())
        })?;
        inside(network, || {
            let mut netlink = Netlink::open()?;
            let link = netlink.link_by_name(link)?.context("the link is gone")?.header.index;
            netlink.link_up(link)?;
            netlink.add_address(link, Ipv4Net::new(address, 24)?)?;
            Ok(())
        })
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // It goes with its other end anyway, but only when the kernel gets round to it.
        let _ = remove_leftover();
    }
}

/// Removes the link that a killed demonstration left on this machine.
pub(super) fn remove_leftover() -> anyhow::Result<()> {
    Netlink::open()?.delete_link(LINK)?;
    Ok(())
}

/// The first of 10.99.0.0/24, 10.99.1.0/24 … that this machine is not on.
fn free_block(in_use: &[HostAddress]) -> anyhow::Result<u8> {
    let is_free = |block: &u8| {
        let [first, last] = [0, 255].map(|host| Ipv4Addr::new(10, 99, *block, host));
        in_use.iter().all(|used| match used.address {
            IpNet::V4(net) => !net.contains(&last) && !(first..=last).contains(&net.addr()),
            IpNet::V6(_) => true,
        })
    };
    (0..=u8::MAX).find(is_free).context("this machine is on all of 10.99.0.0/16 itself")
}

/// A new network namespace, its loopback link up.
fn namespace() -> anyhow::Result<File> {
    on_scratch_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
        let mut netlink = Netlink::open()?;
        let loopback = netlink.link_by_name(LOOPBACK)?.context("no loopback link")?;
        netlink.link_up(loopback.header.index)?;
        File::open("/proc/thread-self/ns/net").context("opening a network namespace")
    })
}

fn inside<T: Send>(
    network: &File,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    on_scratch_thread(|| {
        setns(network, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_block_that_is_free() {
        for (in_use, expect) in [
            (&[][..], Some(0)),
            (&["192.168.1.2/24", "fe80::1/64"], Some(0)),
            (&["10.99.0.7/24"], Some(1)),
            (&["10.99.0.130/25", "10.99.1.1/32"], Some(2)),
            (&["10.0.0.1/8"], None),
        ] {
            let addresses: Vec<HostAddress> = in_use
                .iter()
                .map(|address| HostAddress {
                    interface: "eth0".into(),
                    address: address.parse().expect("an address"),
                    up: true,
                    device: true,
                })
                .collect();
            assert_eq!(free_block(&addresses).ok(), expect, "{in_use:?}");
        }
    }
}

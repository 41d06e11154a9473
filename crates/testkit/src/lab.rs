//! The place that hosts stand in: a folder, and a switch in a network namespace of its own, so that labs and the
//! machine's own network don't meet.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use swarm_network::netlink::{Netlink, VethPair};
use swarm_network::{MacAddress, netns};
use tempfile::TempDir;

use crate::Host;

const SWITCH: &str = "switch0";
const SWITCH_MAC: MacAddress = MacAddress([0x02, 0x42, 0, 0, 0, 1]);
const MTU: u32 = 1500;

/// A switch that hosts are plugged into. Clones are the same lab; the last one takes it down.
#[derive(Debug, Clone)]
pub struct Lab {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: TempDir,
    hosts: AtomicU8,
}

impl Lab {
    /// An empty lab.
    #[expect(clippy::new_without_default, reason = "it changes the machine")]
    pub fn new() -> Self {
        Self::make().expect("make a lab")
    }

    /// A new host at 10.77.0.1, then 10.77.0.2 and so on, without a default route.
    pub fn host(&self, name: &str) -> Host {
        let number = self.inner.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        Host::start(self.clone(), name, Ipv4Addr::new(10, 77, 0, number)).expect("start a host")
    }

    /// The lab's folder; it goes with the lab.
    pub fn folder(&self) -> &Path {
        self.inner.folder.path()
    }

    fn make() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("swarm-lab-").tempdir()?;
        let inner = Arc::new(Inner { folder, hosts: AtomicU8::new(0) });
        let lab = Self { inner };
        netns::create(lab.switch())?;
        netns::run_in(lab.switch(), || Netlink::open()?.add_bridge(SWITCH, SWITCH_MAC, MTU))??;
        Ok(lab)
    }

    /// Gives a namespace an `eth0` on the switch.
    pub(crate) fn plug_in(&self, netns: &Path, address: Ipv4Addr) -> Result<()> {
        let namespace = std::fs::File::open(netns)?;
        netns::run_in(self.switch(), || {
            let mut netlink = Netlink::open()?;
            let switch = netlink.link_by_name(SWITCH)?.context("the switch is gone")?;
            netlink.add_veth(&VethPair {
                name: &port_name(address),
                bridge_index: switch.header.index,
                peer_name: "eth0",
                peer_mac: MacAddress::from_ipv4(address),
                peer_netns: namespace.as_raw_fd(),
                mtu: MTU,
            })?;
            anyhow::Ok(())
        })??;
        netns::run_in(netns, || {
            let mut netlink = Netlink::open()?;
            let link = netlink.link_by_name("eth0")?.context("no eth0 in the new host")?;
            netlink.link_up(link.header.index)?;
            netlink.add_address(link.header.index, Ipv4Net::new(address, 24)?)?;
            anyhow::Ok(())
        })?
    }

    /// Pulls a host's cable, whatever still runs in its namespace.
    pub(crate) fn unplug(&self, address: Ipv4Addr) -> Result<()> {
        netns::run_in(self.switch(), || Netlink::open()?.delete_link(&port_name(address)))??;
        Ok(())
    }

    fn switch(&self) -> PathBuf {
        self.folder().join("switch")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = netns::remove(self.folder.path().join("switch"));
    }
}

fn port_name(address: Ipv4Addr) -> String {
    format!("port{}", address.octets()[3])
}

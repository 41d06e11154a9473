//! Which address a container on the bridge gets. Pure: a set of addresses and a cursor.
//!
//! Addresses are handed out in turn, so that one is not given to a new container while somebody may still hold a
//! cached answer or a connection for the one before.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::{Error, Result};

/// The addresses of one subnet.
#[derive(Debug, Clone)]
pub struct Ipam {
    subnet: Ipv4Net,
    used: BTreeSet<u32>,
    cursor: u32,
}

impl Ipam {
    /// All addresses of the subnet free but the gateway's.
    pub fn new(subnet: Ipv4Net, gateway: Ipv4Addr) -> Self {
        let subnet = subnet.trunc();
        Self {
            subnet,
            used: BTreeSet::from([u32::from(gateway)]),
            cursor: u32::from(subnet.network()),
        }
    }

    /// The last address that was handed out in turn, to go on from after a restart.
    pub fn cursor(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.cursor)
    }

    /// Goes on after this address; ignored if it is not of this subnet.
    pub fn set_cursor(&mut self, cursor: Ipv4Addr) {
        if self.subnet.contains(&cursor) {
            self.cursor = u32::from(cursor);
        }
    }

    /// The next free address.
    pub fn allocate(&mut self) -> Result<Ipv4Addr> {
        let (first, last) = self.hosts();
        let next = (self.cursor.saturating_add(1).max(first)..=last)
            .chain(first..=self.cursor.min(last))
            .find(|address| !self.used.contains(address))
            .ok_or_else(|| Error::AddressesExhausted(self.subnet.to_string()))?;
        self.used.insert(next);
        self.cursor = next;
        Ok(Ipv4Addr::from(next))
    }

    /// Takes this very address.
    pub fn reserve(&mut self, address: Ipv4Addr) -> Result<()> {
        let (first, last) = self.hosts();
        if !(first..=last).contains(&u32::from(address)) {
            return Err(Error::AddressOutside { address, subnet: self.subnet });
        }
        if !self.used.insert(u32::from(address)) {
            return Err(Error::AddressInUse(address));
        }
        Ok(())
    }

    /// Gives an address back.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&u32::from(address));
    }

    /// First and last address that a host may have.
    fn hosts(&self) -> (u32, u32) {
        (u32::from(self.subnet.network()) + 1, u32::from(self.subnet.broadcast()).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipam(subnet: &str) -> Ipam {
        let subnet: Ipv4Net = subnet.parse().expect("a subnet");
        Ipam::new(subnet, subnet.hosts().next().expect("a gateway"))
    }

    fn take(ipam: &mut Ipam, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| ipam.allocate().map_or_else(|e| e.to_string(), |a| a.to_string()))
            .collect()
    }

    #[test]
    fn in_turn_and_never_twice() {
        let mut ipam = ipam("10.0.0.0/29");
        assert_eq!(take(&mut ipam, 3), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        ipam.release(Ipv4Addr::new(10, 0, 0, 3));
        // The released address waits until the others had their turn.
        assert_eq!(take(&mut ipam, 2), ["10.0.0.5", "10.0.0.6"]);
        assert_eq!(take(&mut ipam, 1), ["10.0.0.3"]);
        assert_eq!(
            take(&mut ipam, 1),
            ["no available IPv4 addresses on this network's address pools: 10.0.0.0/29"]
        );
    }

    #[test]
    fn reserve_refuses() {
        for (address, expect) in [
            ("10.0.0.2", "ok"),
            ("10.0.0.1", "Address already in use"),
            ("10.0.0.0", "invalid address 10.0.0.0: it does not belong to the subnet 10.0.0.0/29"),
            ("10.0.0.7", "invalid address 10.0.0.7: it does not belong to the subnet 10.0.0.0/29"),
            ("10.0.1.2", "invalid address 10.0.1.2: it does not belong to the subnet 10.0.0.0/29"),
        ] {
            let result = ipam("10.0.0.0/29").reserve(address.parse().expect("an address"));
            assert_eq!(
                result.map_or_else(|e| e.to_string(), |()| "ok".into()),
                expect,
                "{address}"
            );
        }
    }

    #[test]
    fn reserved_addresses_are_skipped() {
        let mut ipam = ipam("10.0.0.0/29");
        ipam.reserve(Ipv4Addr::new(10, 0, 0, 2)).expect("free");
        assert_eq!(take(&mut ipam, 1), ["10.0.0.3"]);
    }

    #[test]
    fn cursor_survives_a_restart() {
        let mut before = ipam("10.0.0.0/29");
        take(&mut before, 2);
        let mut after = ipam("10.0.0.0/29");
        after.set_cursor(before.cursor());
        after.set_cursor(Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(take(&mut after, 1), ["10.0.0.4"]);
    }
}

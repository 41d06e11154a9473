//! The bridge's packet rules: their text, and the `nft` command that loads it.
//!
//! Each bridge has one table of its own, so that several daemons and a dockerd live side by side. A script always
//! carries all of the table and is applied as one transaction: after it, the rules are what the script says,
//! whatever was there before, and no packet ever sees half of them.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use ipnet::Ipv4Net;

use crate::ports::{PortMapping, Protocol};
use crate::{Error, Result};

/// What the rules are made of.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The bridge's name.
    pub bridge: String,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// Whether containers on it may talk to each other.
    pub icc: bool,
    /// Whether their traffic to elsewhere leaves under the host's address.
    pub ip_masq: bool,
    /// Published ports and the containers' addresses.
    pub published: Vec<(PortMapping, Ipv4Addr)>,
}

/// The table of a bridge.
pub fn table(bridge: &str) -> String {
    format!("bridge-{bridge}")
}

impl Rules {
    /// The script that makes the table so.
    pub fn script(&self) -> String {
        let mut script = Script { table: table(&self.bridge), text: String::new() };
        self.chains(&mut script);
        self.ports(&mut script);
        self.forwarding(&mut script);
        self.masquerading(&mut script);
        script.text
    }

    fn chains(&self, script: &mut Script) {
        script.text = format!("add table ip {}\n", script.table);
        for (chain, hook) in [
            ("raw", "filter hook prerouting priority -300"),
            ("prerouting", "nat hook prerouting priority -100"),
            ("output", "nat hook output priority -100"),
            ("postrouting", "nat hook postrouting priority 100"),
            ("forward", "filter hook forward priority 0"),
        ] {
            script.add("chain", &format!("{chain} {{ type {hook}; policy accept; }}"));
        }
        script.add("chain", "publish");
        // Rules only: the hooks stay registered, connections keep their translation.
        let _ = writeln!(script.text, "flush table ip {}", script.table);
    }

    /// One map per protocol for ports on one address and one for ports on all: a lookup, however many there are.
    fn ports(&self, script: &mut Script) {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let one = format!("{protocol}-one");
            let any = format!("{protocol}-any");
            script.map(&one, "ipv4_addr . inet_service", self.elements(protocol, false));
            script.map(&any, "inet_service", self.elements(protocol, true));
            script.rule("publish", &format!("dnat ip to ip daddr . {protocol} dport map @{one}"));
            script.rule("publish", &format!("dnat ip to {protocol} dport map @{any}"));
        }
        script.rule("prerouting", "fib daddr type local jump publish");
        script.rule("output", "fib daddr type local jump publish");
        // route_localnet lets the host reach published ports on 127.0.0.1; containers must not get at its loopback.
        script.rule("raw", &format!("iifname \"{}\" ip daddr 127.0.0.0/8 drop", self.bridge));
    }

    fn elements(&self, protocol: Protocol, on_all_addresses: bool) -> Vec<String> {
        self.published
            .iter()
            .filter(|(port, _)| {
                port.protocol == protocol && port.host_ip.is_unspecified() == on_all_addresses
            })
            .map(|(port, container)| {
                let to = format!("{container} . {}", port.container_port);
                if on_all_addresses {
                    format!("{} : {to}", port.host_port)
                } else {
                    format!("{} . {} : {to}", port.host_ip, port.host_port)
                }
            })
            .collect()
    }

    /// Into the bridge goes what answers, what a published port lets in and what containers say to each other.
    fn forwarding(&self, script: &mut Script) {
        let bridge = &self.bridge;
        script
            .rule("forward", &format!("oifname \"{bridge}\" ct state established,related accept"));
        script.rule("forward", &format!("oifname \"{bridge}\" ct status dnat accept"));
        let inside = if self.icc { "accept" } else { "drop" };
        script.rule("forward", &format!("iifname \"{bridge}\" oifname \"{bridge}\" {inside}"));
        script.rule("forward", &format!("iifname \"{bridge}\" accept"));
        script.rule("forward", &format!("oifname \"{bridge}\" drop"));
    }

    fn masquerading(&self, script: &mut Script) {
        let (bridge, subnet) = (&self.bridge, self.subnet.trunc());
        if self.ip_masq {
            script.rule(
                "postrouting",
                &format!("ip saddr {subnet} oifname != \"{bridge}\" masquerade"),
            );
        }
        // The host's loopback and a container that reaches itself or a neighbour by the host's address: the answer
        // must come back through the host.
        script
            .rule("postrouting", &format!("ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade"));
        script.rule(
            "postrouting",
            &format!("ip saddr {subnet} oifname \"{bridge}\" ct status dnat masquerade"),
        );
    }
}

struct Script {
    table: String,
    text: String,
}

impl Script {
    fn add(&mut self, object: &str, rest: &str) {
        let _ = writeln!(self.text, "add {object} ip {} {rest}", self.table);
    }

    fn rule(&mut self, chain: &str, rule: &str) {
        self.add("rule", &format!("{chain} {rule}"));
    }

    fn map(&mut self, name: &str, key: &str, elements: Vec<String>) {
        self.add("map", &format!("{name} {{ type {key} : ipv4_addr . inet_service; }}"));
        let _ = writeln!(self.text, "flush map ip {} {name}", self.table);
        if !elements.is_empty() {
            self.add("element", &format!("{name} {{ {} }}", elements.join(", ")));
        }
    }
}

/// Loads a script in one transaction. Blocks for some milliseconds.
pub fn apply(script: &str) -> Result<()> {
    run(&["-f", "-"], script).map(drop)
}

/// Deletes a bridge's table, if it is there.
pub fn delete(bridge: &str) -> Result<()> {
    let table = table(bridge);
    apply(&format!("add table ip {table}\ndelete table ip {table}\n"))
}

/// Runs `nft` with these arguments and this input; what it printed.
pub fn run(arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NftMissing,
            _ => Error::NftRun(error),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(Error::NftRun)?;
    }
    let output = child.wait_with_output().map_err(Error::NftRun)?;
    if !output.status.success() {
        return Err(Error::NftRefused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let port = |host_ip: [u8; 4], host_port| PortMapping {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: host_ip.into(),
            host_port,
        };
        Rules {
            bridge: "swarm0".into(),
            subnet: "172.17.0.1/16".parse().expect("a subnet"),
            icc: true,
            ip_masq: true,
            published: vec![
                (port([0, 0, 0, 0], 8080), [172, 17, 0, 2].into()),
                (port([127, 0, 0, 1], 8081), [172, 17, 0, 3].into()),
            ],
        }
    }

    fn check(rules: &Rules, line: &str, expect: bool) {
        let script = rules.script();
        assert_eq!(script.lines().any(|l| l == line), expect, "{line}\nin\n{script}");
    }

    #[test]
    fn script_has() {
        for line in [
            "add element ip bridge-swarm0 tcp-any { 8080 : 172.17.0.2 . 80 }",
            "add element ip bridge-swarm0 tcp-one { 127.0.0.1 . 8081 : 172.17.0.3 . 80 }",
            "add rule ip bridge-swarm0 postrouting ip saddr 172.17.0.0/16 oifname != \"swarm0\" masquerade",
            "add rule ip bridge-swarm0 forward iifname \"swarm0\" oifname \"swarm0\" accept",
        ] {
            check(&rules(), line, true);
        }
    }

    #[test]
    fn options_change_the_script() {
        let closed = Rules { icc: false, ip_masq: false, ..rules() };
        check(
            &closed,
            "add rule ip bridge-swarm0 forward iifname \"swarm0\" oifname \"swarm0\" drop",
            true,
        );
        check(
            &closed,
            "add rule ip bridge-swarm0 postrouting ip saddr 172.17.0.0/16 oifname != \"swarm0\" masquerade",
            false,
        );
    }
}

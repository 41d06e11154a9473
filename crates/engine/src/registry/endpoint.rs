//! Endpoints: the places where a repository may be found, in the order in which they are tried.
//!
//! Mirrors moby's registry service: mirrors serve only Docker Hub; an insecure registry (listed, or on a loopback
//! address) is tried with TLS of any certificate and then in plain text, all others only with TLS that holds.

use std::net::{IpAddr, ToSocketAddrs};

use crate::image::Reference;
use crate::image::reference::DEFAULT_DOMAIN;

/// Where Docker Hub's registry really is.
const HUB: &str = "registry-1.docker.io";

/// The daemon's registry flags.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// `--insecure-registry`: hosts with port, or networks as `address/bits`.
    pub insecure: Vec<String>,
    /// `--registry-mirror`: URLs that are asked before Docker Hub.
    pub mirrors: Vec<String>,
}

/// One place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and port.
    pub(super) host: String,
    /// Whether it is asked over TLS.
    pub(super) tls: bool,
    /// Whether its certificate must be valid.
    pub(super) verify: bool,
    /// Whether it only holds copies of another registry's images; then credentials are not for it.
    pub(super) mirror: bool,
}

impl Endpoint {
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl RegistryConfig {
    /// The places for a repository. May ask the name service, so it blocks.
    pub(super) fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let is_hub = reference.domain() == DEFAULT_DOMAIN;
        let mut endpoints = Vec::new();
        for mirror in self.mirrors.iter().filter(|_| is_hub) {
            let (tls, host) = match mirror.split_once("://") {
                Some((scheme, host)) => (scheme != "http", host),
                None => (true, mirror.as_str()),
            };
            let host = host.trim_end_matches('/').to_owned();
            let verify = !self.is_insecure(&host);
            endpoints.push(Endpoint { host, tls, verify, mirror: true });
        }
        let host = if is_hub { HUB } else { reference.domain() }.to_owned();
        let insecure = !is_hub && self.is_insecure(&host);
        endpoints.push(Endpoint {
            host: host.clone(),
            tls: true,
            verify: !insecure,
            mirror: false,
        });
        if insecure {
            endpoints.push(Endpoint { host, tls: false, verify: false, mirror: false });
        }
        endpoints
    }

    fn is_insecure(&self, host: &str) -> bool {
        if self.insecure.iter().any(|listed| listed == host) {
            return true;
        }
        let name = host_name(host);
        let addresses = match name.parse::<IpAddr>() {
            Ok(address) => vec![address],
            // Only a name that could be meant is looked up: asking the name service may take seconds.
            Err(_)
                if name == "localhost"
                    || self.insecure.iter().any(|listed| listed.contains('/')) =>
            {
                (name, 0)
                    .to_socket_addrs()
                    .map(|found| found.map(|a| a.ip()).collect())
                    .unwrap_or_default()
            }
            Err(_) => Vec::new(),
        };
        let networks = self.insecure.iter().filter_map(|listed| network(listed));
        let networks: Vec<_> = networks.collect();
        addresses.iter().any(|ip| {
            ip.is_loopback() || networks.iter().any(|(base, bits)| contains(*base, *bits, *ip))
        })
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (base, bits) = text.split_once('/')?;
    Some((base.parse().ok()?, bits.parse().ok()?))
}

fn contains(base: IpAddr, bits: u32, ip: IpAddr) -> bool {
    match (base, ip) {
        (IpAddr::V4(base), IpAddr::V4(ip)) if bits <= 32 => {
            (u64::from(u32::from(base)) ^ u64::from(u32::from(ip))) >> (32 - bits) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(ip)) if bits <= 128 => {
            let differing = u128::from(base) ^ u128::from(ip);
            bits == 0 || differing >> (128 - bits) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(image: &str, expect: &[&str]) {
        let config = RegistryConfig {
            insecure: vec!["plain.example:5000".into(), "10.1.0.0/16".into(), "fd00::/8".into()],
            mirrors: vec!["http://mirror.example:5000/".into()],
        };
        let endpoints = config.endpoints(&Reference::parse(image).expect("valid"));
        let text = |e: &Endpoint| {
            format!("{}://{}{}", e.scheme(), e.host, if e.verify { "" } else { " insecure" })
        };
        assert_eq!(endpoints.iter().map(text).collect::<Vec<_>>(), expect, "{image}");
    }

    #[test]
    fn each_registry_is_asked_where_it_may_be() {
        check("alpine", &["http://mirror.example:5000", "https://registry-1.docker.io"]);
        check("192.0.2.1/app", &["https://192.0.2.1"]);
        check(
            "10.1.2.3:5000/app",
            &["https://10.1.2.3:5000 insecure", "http://10.1.2.3:5000 insecure"],
        );
        check("10.2.2.3:5000/app", &["https://10.2.2.3:5000"]);
        check(
            "[fd00::1]:5000/app",
            &["https://[fd00::1]:5000 insecure", "http://[fd00::1]:5000 insecure"],
        );
        check(
            "plain.example:5000/a",
            &["https://plain.example:5000 insecure", "http://plain.example:5000 insecure"],
        );
        check("127.1.2.3/app", &["https://127.1.2.3 insecure", "http://127.1.2.3 insecure"]);
    }
}

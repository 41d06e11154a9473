//! The three files that every container gets mounted: /etc/hosts, /etc/hostname, /etc/resolv.conf.

use std::fs;
use std::net::IpAddr;

use swarm_network::hosts::Hosts;
use swarm_network::{Attachment, resolv};

use super::{Container, Record};
use crate::config::EngineConfig;
use crate::error::{Error, Result, io as io_error};

/// Writes the files into the container's folder.
pub(super) fn write(
    container: &Container,
    record: &Record,
    attachment: Option<&Attachment>,
    engine: &EngineConfig,
) -> Result<()> {
    let host_network = record.host.network_mode.as_deref() == Some("host");
    let hostname = record.config.hostname.as_deref().unwrap_or_default();
    let addresses: Vec<IpAddr> = attachment.map(|a| a.ipv4.into()).into_iter().collect();
    let extra = record.host.extra_hosts.as_deref().unwrap_or_default();
    let hosts = Hosts {
        addresses: &addresses,
        hostname,
        extra,
        host_gateway: attachment.map(|a| a.gateway.into()),
    };
    let hosts = match fs::read_to_string("/etc/hosts") {
        Ok(text) if host_network && extra.is_empty() => text,
        _ => hosts.text().map_err(|e| Error::invalid(e.to_string()).with_source(e))?,
    };
    let own = record.host.dns.as_deref().unwrap_or_default();
    let overrides = resolv::Overrides {
        servers: if own.is_empty() { &engine.dns } else { own },
        search: record.host.dns_search.as_deref().unwrap_or_default(),
        options: record.host.dns_options.as_deref().unwrap_or_default(),
    };
    let host_resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let resolv = resolv::text(&host_resolv, &overrides, host_network);
    for (name, text) in
        [("hosts", hosts), ("hostname", format!("{hostname}\n")), ("resolv.conf", resolv)]
    {
        let path = container.folder.join(name);
        fs::write(&path, text).map_err(io_error(path.display()))?;
    }
    Ok(())
}

//! A container's network: its namespace and its place on the default bridge.

use std::net::IpAddr;

use bollard_stubs::models::HostConfig;
use swarm_network::{AttachRequest, Attachment, HostPort, PortRequest, Protocol, netns};

use super::{Container, Record};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::spec::NetworkNamespace;

impl Engine {
    /// Gives the container the network that it asked for.
    pub(crate) async fn attach_network(
        &self,
        container: &Container,
        record: &Record,
    ) -> Result<(NetworkNamespace, Option<Attachment>)> {
        if record.config.network_disabled == Some(true) {
            return Ok((NetworkNamespace::Fresh, None));
        }
        match record.host.network_mode.as_deref().unwrap_or_default() {
            "host" => return Ok((NetworkNamespace::Host, None)),
            "none" => return Ok((NetworkNamespace::Fresh, None)),
            "bridge" | "default" | "" => {}
            other => return Err(Error::not_found(format!("network {other} not found"))),
        }
        let Some(bridge) = &self.inner.bridge else {
            return Err(Error::not_found("network bridge not found"));
        };
        let path = self.inner.config.netns_path(container.id.as_str());
        // What a lost host or daemon left under this name belongs to no running container.
        netns::remove(&path).map_err(network_error)?;
        netns::create(&path).map_err(network_error)?;
        let request = AttachRequest {
            container_id: container.id.to_string(),
            name: record.name.clone(),
            netns: path.clone(),
            ipv4: None,
            mac: None,
            ports: port_requests(record)?,
        };
        match bridge.attach(request).await {
            Ok(attachment) => Ok((NetworkNamespace::Path(path), Some(attachment))),
            Err(error) => {
                let _ = netns::remove(&path);
                Err(network_error(error))
            }
        }
    }

    /// Takes the container's network away; nothing if it has none.
    pub(crate) async fn detach_network(&self, container: &Container) -> Result<()> {
        let Some(bridge) = &self.inner.bridge else { return Ok(()) };
        let detached = bridge.detach(container.id.as_str()).await.map_err(network_error);
        let path = self.inner.config.netns_path(container.id.as_str());
        detached.and(netns::remove(&path).map_err(network_error))
    }
}

/// The ports to publish: those with bindings, and all exposed ones for `-P`.
fn port_requests(record: &Record) -> Result<Vec<PortRequest>> {
    let mut requests = Vec::new();
    let bindings = record.host.port_bindings.clone().unwrap_or_default();
    let mut sorted: Vec<_> = bindings.iter().collect();
    sorted.sort_by_key(|(port, _)| port.as_str());
    for (port, bindings) in sorted {
        let (container_port, protocol) = parse_port(port)?;
        for binding in bindings.iter().flatten() {
            let host_ip = parse_host_ip(binding.host_ip.as_deref().unwrap_or_default())?;
            let host_port = parse_host_port(binding.host_port.as_deref().unwrap_or_default())?;
            requests.push(PortRequest { container_port, protocol, host_ip, host_port });
        }
    }
    if publishes_all(&record.host) {
        for port in record.config.exposed_ports.iter().flatten() {
            if bindings.contains_key(port) {
                continue;
            }
            let (container_port, protocol) = parse_port(port)?;
            let host_port = HostPort::Ephemeral;
            requests.push(PortRequest { container_port, protocol, host_ip: None, host_port });
        }
    }
    Ok(requests)
}

fn publishes_all(host: &HostConfig) -> bool {
    host.publish_all_ports == Some(true)
}

/// Reads `80/tcp`.
pub(crate) fn parse_port(text: &str) -> Result<(u16, Protocol)> {
    let invalid = || Error::invalid(format!("invalid port specification: \"{text}\""));
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(invalid()),
    };
    Ok((number.parse().map_err(|_| invalid())?, protocol))
}

fn parse_host_ip(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |_| Error::invalid(format!("invalid IP address: {text}"));
    text.parse().map(Some).map_err(invalid)
}

fn parse_host_port(text: &str) -> Result<HostPort> {
    let invalid = || Error::invalid(format!("invalid port specification: \"{text}\""));
    let port = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    match text.split_once('-') {
        None if text.is_empty() || text == "0" => Ok(HostPort::Ephemeral),
        None => Ok(HostPort::Fixed(port(text)?)),
        Some((first, last)) => Ok(HostPort::Range(port(first)?, port(last)?)),
    }
}

/// The network's error with its causes, since Docker shows them in one line.
fn network_error(error: swarm_network::Error) -> Error {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    Error::system(message).with_source(error)
}

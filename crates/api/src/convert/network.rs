//! Endpoints, published ports and attachments of services and tasks.

use swarm_proto::v1;
use swarm_proto::v1::endpoint_spec::ResolutionMode;
use swarm_proto::v1::port_config::{Protocol, PublishMode};

use super::common::{driver_json, meta};
use crate::error::ApiError;
use crate::wire;

pub(crate) fn attachment(json: &wire::NetworkAttachmentConfig) -> v1::NetworkAttachmentConfig {
    v1::NetworkAttachmentConfig {
        target: json.target.clone(),
        aliases: json.aliases.clone(),
        addresses: Vec::new(),
        driver_attachment_opts: json.driver_opts.clone(),
    }
}

pub(crate) fn attachment_json(
    config: &v1::NetworkAttachmentConfig,
) -> wire::NetworkAttachmentConfig {
    wire::NetworkAttachmentConfig {
        target: config.target.clone(),
        aliases: config.aliases.clone(),
        driver_opts: config.driver_attachment_opts.clone(),
    }
}

pub(crate) fn port(json: &wire::Port) -> Result<v1::PortConfig, ApiError> {
    let protocol = match json.protocol.to_lowercase().as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => return Err(ApiError::invalid(format!("invalid protocol: {other:?}"))),
    };
    let publish_mode = match json.publish_mode.to_lowercase().as_str() {
        "" | "ingress" => PublishMode::Ingress,
        "host" => PublishMode::Host,
        other => return Err(ApiError::invalid(format!("invalid publish mode: {other:?}"))),
    };
    Ok(v1::PortConfig {
        name: json.name.clone(),
        protocol: protocol.into(),
        target_port: json.target_port,
        published_port: json.published_port,
        publish_mode: publish_mode.into(),
    })
}

pub(crate) fn port_json(port: &v1::PortConfig) -> wire::Port {
    wire::Port {
        name: port.name.clone(),
        protocol: Protocol::try_from(port.protocol)
            .unwrap_or_default()
            .as_str_name()
            .to_lowercase(),
        target_port: port.target_port,
        published_port: port.published_port,
        publish_mode: PublishMode::try_from(port.publish_mode)
            .unwrap_or_default()
            .as_str_name()
            .to_lowercase(),
    }
}

pub(crate) fn endpoint_spec_json(spec: &v1::EndpointSpec) -> wire::EndpointSpec {
    let mode = ResolutionMode::try_from(spec.mode).unwrap_or_default();
    wire::EndpointSpec {
        mode: mode.as_str_name().to_lowercase(),
        ports: spec.ports.iter().map(port_json).collect(),
    }
}

pub(crate) fn endpoint_json(endpoint: &v1::Endpoint) -> wire::Endpoint {
    let virtual_ip = |vip: &v1::endpoint::VirtualIp| wire::VirtualIp {
        network_id: vip.network_id.clone(),
        addr: vip.addr.clone(),
    };
    wire::Endpoint {
        spec: endpoint.spec.as_ref().map(endpoint_spec_json).unwrap_or_default(),
        ports: endpoint.ports.iter().map(port_json).collect(),
        virtual_ips: endpoint.virtual_ips.iter().map(virtual_ip).collect(),
    }
}

/// A task's attachment with the network as it was when the task was allocated.
pub(crate) fn network_attachment_json(
    attachment: &v1::NetworkAttachment,
) -> wire::NetworkAttachment {
    wire::NetworkAttachment {
        network: attachment.network.as_ref().map(attached_network_json).unwrap_or_default(),
        addresses: attachment.addresses.clone(),
    }
}

fn attached_network_json(network: &v1::Network) -> wire::AttachedNetwork {
    let meta = meta(network.meta.as_ref());
    wire::AttachedNetwork {
        id: network.id.clone(),
        version: meta.version,
        created_at: meta.created_at,
        updated_at: meta.updated_at,
        spec: network_spec_json(network),
        driver_state: network.driver_state.as_ref().map(driver_json).unwrap_or_default(),
        ipam_options: network.ipam.as_ref().map(ipam_json),
    }
}

fn network_spec_json(network: &v1::Network) -> wire::NetworkSpec {
    let spec = network.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    wire::NetworkSpec {
        name: annotations.name,
        labels: annotations.labels,
        driver_configuration: spec.driver_config.as_ref().map(driver_json),
        ipv6_enabled: spec.ipv6_enabled,
        internal: spec.internal,
        attachable: spec.attachable,
        ingress: spec.ingress,
        ipam_options: spec.ipam.as_ref().map(ipam_json),
        scope: "swarm".to_owned(),
    }
}

fn ipam_json(ipam: &v1::IpamOptions) -> wire::IpamOptions {
    let config = |c: &v1::IpamConfig| wire::IpamConfig {
        subnet: c.subnet.clone(),
        range: c.range.clone(),
        gateway: c.gateway.clone(),
    };
    wire::IpamOptions {
        driver: ipam.driver.as_ref().map(driver_json).unwrap_or_default(),
        configs: ipam.configs.iter().map(config).collect(),
    }
}

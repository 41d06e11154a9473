//! The swarm's networks as `/networks` shows them beside the node's own.

use std::collections::HashMap;

use bollard_stubs::models::{ConfigReference, Ipam, IpamConfig, NetworkInspect};
use swarm_proto::v1;
use swarm_proto::v1::network_spec::ConfigFrom;

use super::common::time_json;

pub(crate) fn network_json(network: &v1::Network) -> NetworkInspect {
    let spec = network.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    let driver = network.driver_state.clone().or(spec.driver_config).unwrap_or_default();
    let config_from = match spec.config_from {
        Some(ConfigFrom::Network(network)) => network,
        None => String::new(),
    };
    NetworkInspect {
        name: Some(annotations.name),
        id: Some(network.id.clone()),
        created: Some(time_json(network.meta.as_ref().and_then(|meta| meta.created_at.as_ref()))),
        scope: Some("swarm".to_owned()),
        driver: Some(driver.name),
        enable_ipv4: Some(true),
        enable_ipv6: Some(spec.ipv6_enabled),
        ipam: Some(network.ipam.as_ref().map(ipam_json).unwrap_or_default()),
        internal: Some(spec.internal),
        attachable: Some(spec.attachable),
        ingress: Some(spec.ingress),
        config_from: Some(ConfigReference { network: Some(config_from) }),
        config_only: Some(false),
        options: Some(driver.options),
        labels: Some(annotations.labels),
        containers: Some(HashMap::new()),
        ..Default::default()
    }
}

fn ipam_json(ipam: &v1::IpamOptions) -> Ipam {
    let driver = ipam.driver.clone().unwrap_or_default();
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let config = |c: &v1::IpamConfig| IpamConfig {
        subnet: given(&c.subnet),
        ip_range: given(&c.range),
        gateway: given(&c.gateway),
        auxiliary_addresses: Some(c.reserved.clone()).filter(|reserved| !reserved.is_empty()),
    };
    Ipam {
        driver: Some(driver.name),
        config: Some(ipam.configs.iter().map(config).collect()),
        options: Some(driver.options),
    }
}

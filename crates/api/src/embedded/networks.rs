//! The networks that every node has: bridge, host and none.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bollard_stubs::models::{ConfigReference, EndpointResource, Ipam, IpamConfig, NetworkInspect};
use swarm_engine::Engine;

pub(super) fn list(engine: &Engine, engine_id: &str) -> Vec<NetworkInspect> {
    let mut networks: Vec<_> =
        engine.bridge().map(|_| bridge(engine, engine_id)).into_iter().collect();
    networks.push(network(engine_id, "host", "host"));
    networks.push(network(engine_id, "none", "null"));
    networks
}

fn network(engine_id: &str, name: &str, driver: &str) -> NetworkInspect {
    NetworkInspect {
        name: Some(name.to_owned()),
        id: Some(network_id(engine_id, name)),
        created: Some("0001-01-01T00:00:00Z".to_owned()),
        scope: Some("local".to_owned()),
        driver: Some(driver.to_owned()),
        enable_ipv4: Some(true),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            driver: Some("default".to_owned()),
            config: Some(Vec::new()),
            options: None,
        }),
        internal: Some(false),
        attachable: Some(false),
        ingress: Some(false),
        config_from: Some(ConfigReference { network: Some(String::new()) }),
        config_only: Some(false),
        options: Some(HashMap::new()),
        labels: Some(HashMap::new()),
        containers: Some(HashMap::new()),
        ..Default::default()
    }
}

fn bridge(engine: &Engine, engine_id: &str) -> NetworkInspect {
    let mut network = network(engine_id, "bridge", "bridge");
    let Some(bridge) = engine.bridge() else { return network };
    let config = bridge.config();
    network.ipam = Some(Ipam {
        driver: Some("default".to_owned()),
        config: Some(vec![IpamConfig {
            subnet: Some(bridge.subnet().to_string()),
            gateway: Some(bridge.gateway().to_string()),
            ..Default::default()
        }]),
        options: None,
    });
    let options = [
        ("com.docker.network.bridge.default_bridge", "true".to_owned()),
        ("com.docker.network.bridge.enable_icc", config.icc.to_string()),
        ("com.docker.network.bridge.enable_ip_masquerade", config.ip_masq.to_string()),
        ("com.docker.network.bridge.name", config.name.clone()),
        ("com.docker.network.driver.mtu", config.mtu.to_string()),
    ];
    network.options = Some(options.map(|(key, value)| (key.to_owned(), value)).into());
    let attached = bridge.attachments().into_iter().map(|(container, attachment)| {
        let name = engine.inspect(&container).ok().and_then(|found| found.name).unwrap_or_default();
        let endpoint = EndpointResource {
            name: Some(name.trim_start_matches('/').to_owned()),
            endpoint_id: Some(attachment.endpoint_id),
            mac_address: Some(attachment.mac.to_string()),
            ipv4_address: Some(format!("{}/{}", attachment.ipv4, attachment.prefix_len)),
            ipv6_address: Some(String::new()),
        };
        (container, endpoint)
    });
    network.containers = Some(attached.collect());
    network
}

/// 64 hexadecimal digits that stay the same for an engine's lifetime and differ between engines.
fn network_id(engine_id: &str, name: &str) -> String {
    let part = |index: u8| {
        let mut hasher = DefaultHasher::new();
        (engine_id, name, index).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    (0..4).map(part).collect()
}

//! The endpoint of a service: how it is reached, as its specification asks.
//!
//! Ports published on the node itself (host mode) need nothing from the cluster and are copied.
//! Mirrors the host-mode half of SwarmKit's `manager/allocator/portallocator.go`.

use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::{Endpoint, PortConfig, Service};

/// The endpoint that `service` should have; none where its specification asks for none and it has none.
pub(crate) fn wanted(service: &Service) -> Option<Endpoint> {
    let spec = service.spec.as_ref().and_then(|spec| spec.endpoint.as_ref());
    let current = service.endpoint.as_ref();
    if spec.is_none() && current.is_none() {
        return None;
    }
    let is_host = |port: &&PortConfig| port.publish_mode == PublishMode::Host as i32;
    Some(Endpoint {
        spec: spec.cloned(),
        ports: spec.iter().flat_map(|spec| &spec.ports).filter(is_host).cloned().collect(),
        virtual_ips: current.map(|endpoint| endpoint.virtual_ips.clone()).unwrap_or_default(),
    })
}

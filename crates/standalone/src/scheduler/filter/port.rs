//! Ports of the engine that the container wants for itself.

use crate::scheduler::node::Node;
use crate::scheduler::request::Request;

/// Whether no container there, be it stopped, has one of the ports.
pub(super) fn is_free(node: &Node, request: &Request) -> bool {
    if request.is_host_network {
        return request.exposed_ports.iter().all(|port| {
            let is_taken = |container: &crate::scheduler::Container| {
                container.is_host_network && container.exposed_ports.contains(port)
            };
            !node.containers.iter().any(|container| is_taken(container))
        });
    }
    request.bindings.iter().all(|wanted| {
        !node
            .containers
            .iter()
            .any(|container| container.bindings.iter().any(|own| own.conflicts(wanted)))
    })
}

pub(super) fn conditions(request: &Request) -> Vec<String> {
    if request.is_host_network {
        let told = |port: &String| format!("port {port} (Host mode)");
        return request.exposed_ports.iter().map(told).collect();
    }
    request
        .bindings
        .iter()
        .map(|binding| format!("port {} (Bridge mode)", binding.host_port))
        .collect()
}

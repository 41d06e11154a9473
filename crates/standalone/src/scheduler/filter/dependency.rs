//! Containers that must be on the same engine, as their volumes, links or namespaces are used.
//!
//! The original looked at shared networks only; a shared IPC or PID namespace is as much bound to its engine.

use crate::scheduler::node::Node;
use crate::scheduler::request::Request;

pub(super) fn are_there(node: &Node, request: &Request) -> bool {
    let name = |text: &'_ String| text.split(':').next().unwrap_or_default().to_owned();
    let shared = request.shared.iter().map(|(_, container)| container.clone());
    let mut wanted = request.volumes_from.iter().chain(&request.links).map(name).chain(shared);
    wanted.all(|container| node.container(&container).is_some())
}

pub(super) fn conditions(request: &Request) -> Vec<String> {
    let volumes = request.volumes_from.iter().map(|from| format!("--volumes-from={from}"));
    let links = request.links.iter().map(|link| format!("--link={link}"));
    let shared = request.shared.iter().map(|(flag, name)| format!("--{flag}=container:{name}"));
    volumes.chain(links).chain(shared).collect()
}

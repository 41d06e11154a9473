//! The networks of a task: each one that its specification names, as an attachment that carries the network itself.
//!
//! Networks that exist on every node by themselves (host, bridge) need no address from the cluster.
//! Mirrors the node-local part of SwarmKit's `manager/allocator/network.go`.

use swarm_proto::v1::{Network, NetworkAttachment, NetworkAttachmentConfig, Task};
use swarm_store::Tables;

/// The attachments that `task` asks for; a network that is not known (any more) is left out.
pub(crate) fn wanted(tables: &Tables, task: &Task) -> Vec<NetworkAttachment> {
    let configs = task.spec.as_ref().map_or(&[][..], |spec| &spec.networks);
    configs.iter().filter_map(|config| attach(tables, config)).collect()
}

fn attach(tables: &Tables, config: &NetworkAttachmentConfig) -> Option<NetworkAttachment> {
    let network = tables
        .get::<Network>(&config.target)
        .or_else(|| tables.by_name::<Network>(&config.target))?;
    Some(NetworkAttachment {
        network: Some(Network::clone(network)),
        addresses: Vec::new(),
        aliases: config.aliases.clone(),
        driver_attachment_opts: config.driver_attachment_opts.clone(),
    })
}

//! The filters: whether a node can take a task, and if none can, why.
//!
//! The filters run in a fixed order and a node is counted at the first that refuses it; the explanation names the
//! filters by how many nodes they refused. Order and texts are those of SwarmKit's `manager/scheduler/filter.go` and
//! `pipeline.go`; those on other services come last.

use std::collections::BTreeMap;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::{Node, PluginDescription};

use crate::constraint;
use crate::demand::{Demand, Needs, Plugins, architecture};
use crate::neighbours::Around;
use crate::node::NodeInfo;
use crate::reason::Conflict;

/// Why a node cannot take a task, in the order in which it is checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    NotReady,
    Resources,
    Plugin,
    Constraint,
    Platform,
    HostPort,
    MaxReplicas,
    /// These must not be beside it, which are there.
    Apart(String),
    /// Another of its own service is there.
    ApartFromOwn,
    /// A service of this name is there that must not be beside it.
    ApartBy(String),
    /// These must be beside it, which are not there.
    NotBeside(String),
}

/// Checks what changes while tasks are being placed, and what does not.
pub(crate) fn check(demand: &Demand, around: &Around, node: &NodeInfo) -> Result<(), Refusal> {
    let demand_met = [
        (is_ready(&node.node), Refusal::NotReady),
        (has_resources(demand, node), Refusal::Resources),
    ];
    for (met, refusal) in demand_met {
        if !met {
            return Err(refusal);
        }
    }
    if !has_plugins(&demand.plugins, &node.node) {
        return Err(Refusal::Plugin);
    }
    if !constraint::matches(&demand.constraints, &node.node) {
        return Err(Refusal::Constraint);
    }
    if !has_platform(&demand.platforms, &node.node) {
        return Err(Refusal::Platform);
    }
    if demand.host_ports.iter().any(|port| node.uses_port(*port)) {
        return Err(Refusal::HostPort);
    }
    if demand.max_replicas > 0 && node.active_of(&demand.service.service_id) >= demand.max_replicas
    {
        return Err(Refusal::MaxReplicas);
    }
    around.refusal(demand, node).map_or(Ok(()), Err)
}

/// Whether a node is ready and meets needs that do not depend on what runs on it.
pub(crate) fn suits(needs: &Needs, node: &Node) -> bool {
    is_ready(node)
        && has_plugins(&needs.plugins, node)
        && constraint::matches(&needs.constraints, node)
        && has_platform(&needs.platforms, node)
}

/// Checks again what placing tasks of the same demand can change, and what [`suits`] doesn't know; the node has passed
/// [`check`] before, or [`suits`].
pub(crate) fn check_again(demand: &Demand, around: &Around, node: &NodeInfo) -> bool {
    has_resources(demand, node)
        && !demand.host_ports.iter().any(|port| node.uses_port(*port))
        && (demand.max_replicas == 0
            || node.active_of(&demand.service.service_id) < demand.max_replicas)
        && around.refusal(demand, node).is_none()
}

/// Says why none of `nodes` can take a task with this demand; empty where there is no node at all.
pub(crate) fn explain<'a>(
    demand: &Demand,
    around: &Around,
    nodes: impl Iterator<Item = &'a NodeInfo>,
) -> String {
    let mut counts: BTreeMap<Refusal, usize> = BTreeMap::new();
    for refusal in nodes.filter_map(|node| check(demand, around, node).err()) {
        *counts.entry(refusal).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    // Stable: filters that refused equally many nodes stay in the order of checking.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let texts: Vec<_> = counts.iter().map(|(refusal, count)| refusal.text(*count)).collect();
    texts.join("; ")
}

impl Refusal {
    fn text(&self, count: usize) -> String {
        let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
        match self {
            Self::NotReady => format!("{nodes} not available for new tasks"),
            Self::Resources => format!("insufficient resources on {nodes}"),
            Self::Plugin => format!("missing plugin on {nodes}"),
            Self::Constraint => format!("scheduling constraints not satisfied on {nodes}"),
            Self::Platform => format!("unsupported platform on {nodes}"),
            Self::HostPort => format!("{} on {nodes}", Conflict::HostPort),
            Self::MaxReplicas => Conflict::MaxReplicas.to_string(),
            Self::Apart(services) => format!("kept apart from {services} on {nodes}"),
            Self::ApartFromOwn => format!("{} on {nodes}", Conflict::OwnService),
            Self::ApartBy(service) => format!("kept apart by service {service} on {nodes}"),
            Self::NotBeside(services) => format!("not beside {services} on {nodes}"),
        }
    }
}

fn is_ready(node: &Node) -> bool {
    node.status.as_ref().is_some_and(|status| status.state == State::Ready as i32)
        && node.spec.as_ref().is_none_or(|spec| spec.availability == Availability::Active as i32)
}

fn has_resources(demand: &Demand, node: &NodeInfo) -> bool {
    (demand.nano_cpus == 0 && demand.memory_bytes == 0 && demand.generic.is_empty())
        || (demand.nano_cpus <= node.nano_cpus
            && demand.memory_bytes <= node.memory_bytes
            && demand.generic.iter().all(|(kind, value)| node.generic.has(kind, *value)))
}

fn has_platform(platforms: &[(String, String)], node: &Node) -> bool {
    let described = node.description.as_ref().and_then(|description| description.platform.as_ref());
    platforms.is_empty()
        || described.is_some_and(|described| {
            let actual = architecture(&described.architecture);
            platforms.iter().any(|(os, wanted)| {
                (os.is_empty() || *os == described.os) && (wanted.is_empty() || wanted == actual)
            })
        })
}

/// Nodes that do not describe an engine are not asked for plugins.
fn has_plugins(plugins: &Plugins, node: &Node) -> bool {
    let Some(engine) =
        node.description.as_ref().and_then(|description| description.engine.as_ref())
    else {
        return true;
    };
    let has = |kind: &str, name: &String| {
        engine.plugins.iter().any(|plugin| is_plugin(plugin, kind, name))
    };
    // An engine that reports no log driver at all is too old to know of them: it is not refused for that.
    let reports_logs = engine.plugins.iter().any(|plugin| plugin.r#type == "Log");
    plugins.volume.iter().all(|name| has("Volume", name))
        && plugins.network.iter().all(|name| has("Network", name))
        && plugins.log.iter().all(|name| !reports_logs || has("Log", name))
}

fn is_plugin(plugin: &PluginDescription, kind: &str, name: &str) -> bool {
    plugin.r#type == kind
        && (plugin.name == name || plugin.name.strip_suffix(":latest") == Some(name))
}

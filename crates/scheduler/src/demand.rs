//! What a task demands of a node, compiled once for all tasks that demand the same.
//!
//! Tasks with equal demands are placed as one group: nodes are filtered once for all of them. A demand is ordered, so
//! that groups have a fixed order whatever order their tasks came in.

use std::collections::BTreeSet;

use swarm_proto::v1::generic_resource::Resource;
use swarm_proto::v1::placement_preference::Preference;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::{Endpoint, Mount, Placement, Resources, Task, TaskSpec, mount, task_spec};

use crate::affinity::Affinity;
use crate::constraint::{self, Constraint, Label};
use crate::failures::VersionedService;

/// A port of the node itself: protocol and number.
pub(crate) type HostPort = (i32, u32);

/// Everything that decides where a task may run and where it should.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Demand {
    pub(crate) service: VersionedService,
    pub(crate) nano_cpus: i64,
    pub(crate) memory_bytes: i64,
    /// (kind, pieces)
    pub(crate) generic: Vec<(String, i64)>,
    pub(crate) plugins: Plugins,
    /// Those on the node itself.
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) affinity: Affinity,
    /// (operating system, architecture); empty means any.
    pub(crate) platforms: Vec<(String, String)>,
    pub(crate) host_ports: BTreeSet<HostPort>,
    pub(crate) max_replicas: u64,
    pub(crate) spread: Vec<Label>,
}

/// The plugins that a task needs, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plugins {
    pub(crate) volume: BTreeSet<String>,
    pub(crate) network: BTreeSet<String>,
    pub(crate) log: Option<String>,
}

/// What a task needs that does not depend on what else runs on a node: many services need the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) plugins: Plugins,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) platforms: Vec<(String, String)>,
}

impl Demand {
    /// The part of it that does not depend on what else runs on a node.
    pub(crate) fn needs(&self) -> Needs {
        Needs {
            plugins: self.plugins.clone(),
            constraints: self.constraints.clone(),
            platforms: self.platforms.clone(),
        }
    }

    /// Whether these are its needs.
    pub(crate) fn has_needs(&self, needs: &Needs) -> bool {
        self.plugins == needs.plugins
            && self.constraints == needs.constraints
            && self.platforms == needs.platforms
    }

    pub(crate) fn new(task: &Task) -> Self {
        let default = TaskSpec::default();
        let spec = task.spec.as_deref().unwrap_or(&default);
        let reservations = reservations(task);
        let placement = spec.placement.as_ref();
        // The control service has validated the constraints; as in SwarmKit, a malformed list filters nothing.
        let mut constraints = placement
            .and_then(|placement| constraint::parse(&placement.constraints).ok())
            .unwrap_or_default();
        let affinity = placement.map(|placement| Affinity::new(placement, &constraints));
        constraints.retain(|constraint| constraint.company().is_none());
        Self {
            service: VersionedService {
                service_id: task.service_id.clone(),
                spec_version: task.spec_version.as_ref().map(|version| version.index),
            },
            nano_cpus: reservations.map_or(0, |reservations| reservations.nano_cpus),
            memory_bytes: reservations.map_or(0, |reservations| reservations.memory_bytes),
            generic: reservations.map(generic).unwrap_or_default(),
            plugins: plugins(task, spec),
            constraints,
            affinity: affinity.unwrap_or_default(),
            platforms: placement.map(platforms).unwrap_or_default(),
            host_ports: task.endpoint.as_ref().map(host_ports).unwrap_or_default(),
            max_replicas: placement.map_or(0, |placement| placement.max_replicas),
            spread: placement.map(spread).unwrap_or_default(),
        }
    }
}

/// What a task reserves of its node.
pub(crate) fn reservations(task: &Task) -> Option<&Resources> {
    task.spec.as_ref()?.resources.as_ref()?.reservations.as_ref()
}

/// The ports of the node itself that a task publishes.
pub(crate) fn host_ports(endpoint: &Endpoint) -> BTreeSet<HostPort> {
    let host = |port: &&swarm_proto::v1::PortConfig| {
        port.publish_mode == PublishMode::Host as i32 && port.published_port != 0
    };
    endpoint.ports.iter().filter(host).map(|port| (port.protocol, port.published_port)).collect()
}

/// The normal form of an architecture's name.
pub(crate) fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn generic(reservations: &Resources) -> Vec<(String, i64)> {
    let amount = |resource: &swarm_proto::v1::GenericResource| match &resource.resource {
        Some(Resource::DiscreteResourceSpec(discrete)) => {
            Some((discrete.kind.clone(), discrete.value))
        }
        // Tasks ask for numbers only; the control service refuses anything else.
        _ => None,
    };
    reservations.generic.iter().filter_map(amount).collect()
}

fn platforms(placement: &Placement) -> Vec<(String, String)> {
    let platform = |platform: &swarm_proto::v1::Platform| {
        (platform.os.clone(), architecture(&platform.architecture).to_owned())
    };
    placement.platforms.iter().map(platform).collect()
}

fn spread(placement: &Placement) -> Vec<Label> {
    let label = |preference: &swarm_proto::v1::PlacementPreference| match &preference.preference {
        Some(Preference::Spread(spread)) => Label::parse(&spread.spread_descriptor),
        None => None,
    };
    placement.preferences.iter().filter_map(label).collect()
}

fn plugins(task: &Task, spec: &TaskSpec) -> Plugins {
    let mounts: &[Mount] = match &spec.runtime {
        Some(task_spec::Runtime::Container(container)) => &container.mounts,
        _ => &[],
    };
    let network = |attachment: &swarm_proto::v1::NetworkAttachment| {
        let driver = attachment.network.as_ref()?.driver_state.as_ref()?;
        (!driver.name.is_empty()).then(|| driver.name.clone())
    };
    let log = spec.log_driver.as_ref().map(|driver| driver.name.clone());
    Plugins {
        volume: mounts.iter().filter_map(volume_plugin).collect(),
        network: task.networks.iter().filter_map(network).collect(),
        log: log.filter(|name| !name.is_empty() && name != "none"),
    }
}

fn volume_plugin(mount: &Mount) -> Option<String> {
    if mount.r#type != mount::Type::Volume as i32 {
        return None;
    }
    let driver = mount.volume_options.as_ref()?.driver_config.as_ref()?;
    (!driver.name.is_empty() && driver.name != "local").then(|| driver.name.clone())
}

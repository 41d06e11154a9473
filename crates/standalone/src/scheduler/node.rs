//! What the scheduler sees of an engine and of what is on it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// An engine at the moment of a choice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// The engine's identifier and address: `ID|host:port`.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// In bytes, overcommitment included.
    pub(crate) total_memory: i64,
    /// In processors, overcommitment included.
    pub(crate) total_cpus: i64,
    /// What all containers reserve, those that do not run and those that are about to be made included.
    pub(crate) used_memory: i64,
    pub(crate) used_cpus: i64,
    /// From 0, which gets no container, to 100.
    pub(crate) health: i64,
    pub(crate) containers: Vec<Arc<Container>>,
    pub(crate) images: Vec<Arc<Image>>,
}

/// A container on an engine, or about to be made there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    /// Empty while it is about to be made.
    pub(crate) id: String,
    /// Each with its leading slash.
    pub(crate) names: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// In bytes.
    pub(crate) memory: i64,
    /// In processors.
    pub(crate) cpus: i64,
    pub(crate) is_host_network: bool,
    /// `80/tcp`
    pub(crate) exposed_ports: Vec<String>,
    pub(crate) bindings: Vec<PortBinding>,
}

/// A port of the engine that leads to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortBinding {
    /// `tcp`, `udp` or `sctp`
    pub(crate) protocol: String,
    pub(crate) host_ip: String,
    pub(crate) host_port: String,
}

/// An image on an engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) tags: Vec<String>,
    pub(crate) digests: Vec<String>,
}

impl Node {
    /// The container that a name or an identifier means here, as the whole cluster would look for it.
    pub(crate) fn container(&self, name: &str) -> Option<&Container> {
        let all = || self.containers.iter().map(|container| &**container);
        if let Some(found) = all().find(|container| container.has_id(name)) {
            return Some(found);
        }
        let slashed = [
            name.to_owned(),
            format!("/{name}"),
            name.strip_prefix(&self.name).unwrap_or(name).to_owned(),
            name.strip_prefix(&self.id).unwrap_or(name).to_owned(),
        ];
        only(all().filter(|container| container.names.iter().any(|own| slashed.contains(own))))
            .or_else(|| only(all().filter(|container| container.has_id_prefix(name))))
    }
}

impl Container {
    /// The identifier that it keeps when it is made anew elsewhere.
    fn swarm_id(&self) -> &str {
        self.labels.get(crate::container_config::ID_LABEL).map_or("", String::as_str)
    }

    fn has_id(&self, id: &str) -> bool {
        let is_it = |own: &str| !own.is_empty() && (own == id || own.get(..12) == Some(id));
        is_it(&self.id) || is_it(self.swarm_id())
    }

    fn has_id_prefix(&self, prefix: &str) -> bool {
        !prefix.is_empty() && (self.id.starts_with(prefix) || self.swarm_id().starts_with(prefix))
    }
}

/// The one, unless there are others.
fn only<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

impl PortBinding {
    /// Whether both can't be had on one engine.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let is_any = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        let on_same_ip =
            is_any(&self.host_ip) || is_any(&other.host_ip) || self.host_ip == other.host_ip;
        self.protocol == other.protocol && on_same_ip && self.overlaps(other)
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (range(&self.host_port), range(&other.host_port)) {
            // A range on either side leaves a choice where it is wider than what it meets.
            (Some(one), Some(other)) if one.0 == one.1 && other.0 == other.1 => one == other,
            _ => !self.host_port.is_empty() && self.host_port == other.host_port,
        }
    }
}

/// `8000` or `8000-8010`.
fn range(ports: &str) -> Option<(u16, u16)> {
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    Some((from.parse().ok()?, to.parse().ok()?))
}

impl Image {
    /// Whether this name or identifier means the image.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let id = self.id.strip_prefix("sha256:").unwrap_or(&self.id);
        let wanted = name.strip_prefix("sha256:").unwrap_or(name);
        (wanted.len() > 2 && id.starts_with(wanted))
            || self.tags.iter().chain(&self.digests).any(|own| is_same_image(own, name))
    }
}

/// Whether `wanted`, with or without a tag, means the image that is called `own`.
pub(crate) fn is_same_image(own: &str, wanted: &str) -> bool {
    let ((repository, tag), (wanted, wanted_tag)) = (split_image(own), split_image(wanted));
    repository == wanted && (wanted_tag.is_empty() || wanted_tag == tag)
}

/// Repository, and tag or digest.
pub(super) fn split_image(name: &str) -> (&str, &str) {
    if let Some(split) = name.split_once('@') {
        return split;
    }
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, ""),
    }
}

//! What a name means in the whole cluster: `web`, `node-1/web`, an identifier or its begin.

use std::sync::Arc;

use super::Cluster;
use crate::container_config::ID_LABEL;
use crate::engine::{Engine, Record};

/// A container and its engine.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) engine: Arc<Engine>,
    pub(crate) record: Arc<Record>,
}

impl Cluster {
    /// All containers.
    pub(crate) fn containers(&self) -> Vec<Found> {
        let of_engine = |engine: Arc<Engine>| {
            let records = engine.picture().containers;
            records.into_iter().map(move |(_, record)| Found { engine: engine.clone(), record })
        };
        self.engines().into_iter().flat_map(of_engine).collect()
    }

    /// The container that this means: by identifier, else by name, else by the begin of an identifier; none where it
    /// may mean several.
    pub(crate) fn container(&self, wanted: &str) -> Option<Found> {
        if wanted.is_empty() {
            return None;
        }
        let engines = self.engines();
        for engine in &engines {
            if let Some(record) = engine.picture().containers.get(wanted) {
                return Some(Found { engine: engine.clone(), record: record.clone() });
            }
        }
        let all = self.containers();
        let swarm_id = |found: &Found| {
            found.record.container.labels.get(ID_LABEL).cloned().unwrap_or_default()
        };
        let has_id = |found: &&Found| {
            let own = swarm_id(found);
            [found.record.container.id.as_str(), own.as_str()]
                .iter()
                .any(|id| !id.is_empty() && (*id == wanted || id.get(..12) == Some(wanted)))
        };
        if let Some(found) = all.iter().find(has_id) {
            return Some(found.clone());
        }
        let mut named = all.iter().filter(|found| is_named(found, wanted));
        if let Some(found) = named.next() {
            return named.next().is_none().then(|| found.clone());
        }
        let mut begun = all.iter().filter(|found| {
            found.record.container.id.starts_with(wanted) || swarm_id(found).starts_with(wanted)
        });
        let found = begun.next()?;
        begun.next().is_none().then(|| found.clone())
    }

    /// The engine of this name or identifier.
    pub(crate) fn engine(&self, wanted: &str) -> Option<Arc<Engine>> {
        self.engines().into_iter().find(|engine| engine.name() == wanted || engine.id() == wanted)
    }
}

/// Whether the name, with or without its engine's, is the container's.
fn is_named(found: &Found, wanted: &str) -> bool {
    let names = &found.record.container.names;
    let is_own =
        |name: &str| names.iter().any(|own| own == name || own.strip_prefix('/') == Some(name));
    let on_engine = |engine: &str| {
        !engine.is_empty()
            && wanted.strip_prefix(engine).is_some_and(|rest| rest.starts_with('/') && is_own(rest))
    };
    is_own(wanted) || on_engine(&found.engine.name()) || on_engine(&found.engine.id())
}

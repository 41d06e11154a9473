//! The containers in memory, by ID and by name; names are unique.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Container, ContainerId};
use crate::error::{Error, Result};

/// All containers of the engine.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_id: BTreeMap<ContainerId, Arc<Container>>,
    by_name: HashMap<String, ContainerId>,
}

impl Registry {
    /// Takes a name for a container, or says who has it.
    pub(crate) fn reserve_name(&mut self, name: &str, id: &ContainerId) -> Result<()> {
        match self.by_name.get(name) {
            Some(owner) if owner != id => Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            ))),
            _ => {
                self.by_name.insert(name.to_owned(), id.clone());
                Ok(())
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release_name(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn insert(&mut self, container: Arc<Container>) {
        self.by_id.insert(container.id.clone(), container);
    }

    /// Forgets a container with its name.
    pub(crate) fn remove(&mut self, id: &ContainerId) {
        self.by_id.remove(id);
        self.by_name.retain(|_, owner| owner != id);
    }

    /// All containers.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.by_id.values().cloned().collect()
    }

    /// By full ID, then by name, then by a prefix of the ID that only one has (moby: `GetContainer`).
    pub(crate) fn resolve(&self, wanted: &str) -> Result<Arc<Container>> {
        let missing = || Error::not_found(format!("No such container: {wanted}"));
        let id = ContainerId(wanted.to_owned());
        if let Some(container) = self.by_id.get(&id) {
            return Ok(container.clone());
        }
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        if let Some(container) = self.by_name.get(name).and_then(|id| self.by_id.get(id)) {
            return Ok(container.clone());
        }
        if wanted.is_empty() {
            return Err(missing());
        }
        let mut matching =
            self.by_id.range(id..).take_while(|(id, _)| id.as_str().starts_with(wanted));
        match (matching.next(), matching.next()) {
            (Some((_, only)), None) => Ok(only.clone()),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("multiple IDs found with provided prefix: {wanted}")))
            }
            (None, _) => Err(missing()),
        }
    }
}

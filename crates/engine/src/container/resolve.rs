//! Finding a container by what a user typed: ID, unique prefix of it, or name.

use std::sync::{Arc, PoisonError};

use super::{Container, Registry};
use crate::engine::Engine;
use crate::error::Result;

impl Engine {
    /// The full ID of the container that `reference` (ID, unique prefix or name) means.
    pub fn resolve(&self, reference: &str) -> Result<super::ContainerId> {
        self.container(reference).map(|container| container.id.clone())
    }

    pub(crate) fn container(&self, reference: &str) -> Result<Arc<Container>> {
        self.with_registry(|registry| registry.resolve(reference))
    }

    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        self.with_registry(|registry| registry.all())
    }

    pub(crate) fn with_registry<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.inner.containers.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut registry)
    }
}

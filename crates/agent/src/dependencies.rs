//! The secrets and configs that the node's tasks refer to, as the manager sent them. Kept in memory only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_proto::v1::{Config, Secret};

/// Secrets and configs by identifier.
#[derive(Default)]
pub struct Dependencies {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    secrets: HashMap<String, Arc<Secret>>,
    configs: HashMap<String, Arc<Config>>,
}

impl Dependencies {
    /// The secret, where one of the node's tasks refers to it.
    pub fn secret(&self, id: &str) -> Option<Arc<Secret>> {
        self.with(|held| held.secrets.get(id).cloned())
    }

    /// The config, where one of the node's tasks refers to it.
    pub fn config(&self, id: &str) -> Option<Arc<Config>> {
        self.with(|held| held.configs.get(id).cloned())
    }

    pub(crate) fn put_secret(&self, secret: Secret) {
        self.with(|held| held.secrets.insert(secret.id.clone(), Arc::new(secret)));
    }

    pub(crate) fn put_config(&self, config: Config) {
        self.with(|held| held.configs.insert(config.id.clone(), Arc::new(config)));
    }

    pub(crate) fn remove_secret(&self, id: &str) {
        self.with(|held| held.secrets.remove(id));
    }

    pub(crate) fn remove_config(&self, id: &str) {
        self.with(|held| held.configs.remove(id));
    }

    /// Forgets everything: a complete assignment follows.
    pub(crate) fn clear(&self) {
        self.with(|held| *held = Held::default());
    }

    fn with<R>(&self, work: impl FnOnce(&mut Held) -> R) -> R {
        work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

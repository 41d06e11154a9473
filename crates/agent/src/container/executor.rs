//! The machine as the cluster sees it, and its controllers.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use swarm_engine::registry::{RegistryClient, RegistryConfig};
use swarm_engine::{Engine, ListOptions};
use swarm_proto::v1::{
    EngineDescription, GenericResource, Node, NodeDescription, Platform, PluginDescription,
    Resources, Task,
};
use tracing::warn;

use super::controller::ContainerController;
use super::expand::Machine;
use super::spec::LABEL_PREFIX;
use crate::controller::{Controller, Executor};
use crate::dependencies::Dependencies;

/// The drivers that every engine of ours has, by kind.
const DRIVERS: [(&str, &str); 5] = [
    ("Log", "json-file"),
    ("Network", "bridge"),
    ("Network", "host"),
    ("Network", "null"),
    ("Volume", "local"),
];

/// What the executor tells of the machine beyond what it reads from the kernel.
#[derive(Debug, Clone, Default)]
pub struct ExecutorConfig {
    /// The daemon's version, as `docker node inspect` shows it.
    pub engine_version: String,
    /// The daemon's labels (`--label`).
    pub labels: HashMap<String, String>,
    /// The hostname.
    pub hostname: String,
    /// What the node offers beyond CPU and memory (`--node-generic-resource`).
    pub generic_resources: Vec<GenericResource>,
}

/// Runs tasks as containers of the embedded engine.
pub struct ContainerExecutor {
    engine: Engine,
    registries: RegistryClient,
    config: ExecutorConfig,
}

impl ContainerExecutor {
    /// An executor over an engine, which finds images that it lacks at registries.
    pub fn new(engine: Engine, registries: RegistryConfig, config: ExecutorConfig) -> Self {
        let registries = RegistryClient::new(engine.images().clone(), registries);
        Self { engine, registries, config }
    }

    fn machine(&self) -> Machine {
        Machine {
            hostname: self.config.hostname.clone(),
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
        }
    }

    fn engine_description(&self) -> EngineDescription {
        let plugin = |(kind, name): (&str, &str)| PluginDescription {
            r#type: kind.to_owned(),
            name: name.to_owned(),
        };
        EngineDescription {
            engine_version: self.config.engine_version.clone(),
            labels: self.config.labels.clone(),
            plugins: DRIVERS.into_iter().map(plugin).collect(),
        }
    }
}

#[async_trait]
impl Executor for ContainerExecutor {
    async fn describe(&self) -> NodeDescription {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let resources = Resources {
            nano_cpus: i64::try_from(cpus).unwrap_or(1) * 1_000_000_000,
            memory_bytes: memory_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            generic: self.config.generic_resources.clone(),
        };
        NodeDescription {
            hostname: self.config.hostname.clone(),
            platform: Some(Platform {
                architecture: std::env::consts::ARCH.to_owned(),
                os: std::env::consts::OS.to_owned(),
            }),
            resources: Some(resources),
            engine: Some(self.engine_description()),
            ..NodeDescription::default()
        }
    }

    async fn configure(&self, _node: &Node) {}

    async fn leave(&self) {
        let filters = [("label".to_owned(), vec![format!("{LABEL_PREFIX}.task")])];
        let options = ListOptions {
            all: true,
            filters: filters.into_iter().collect(),
            ..ListOptions::default()
        };
        let containers = match self.engine.list(&options) {
            Ok(containers) => containers,
            Err(error) => return warn!(%error, "listing the tasks' containers failed"),
        };
        for id in containers.into_iter().filter_map(|container| container.id) {
            if let Err(error) = self.engine.remove(&id, true, true).await {
                warn!(container.id = id, %error, "removing a task's container failed");
            }
        }
    }

    fn controller(&self, task: &Task, _dependencies: Arc<Dependencies>) -> Arc<dyn Controller> {
        let (engine, registries) = (self.engine.clone(), self.registries.clone());
        Arc::new(ContainerController::new(engine, registries, task.clone(), &self.machine()))
    }
}

/// The machine's memory, out of `/proc/meminfo`; 0 where it does not say.
fn memory_bytes(meminfo: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::memory_bytes;

    #[test]
    fn reads_the_memory() {
        for (text, expect) in [
            ("MemTotal:       24672316 kB\nMemFree: 1 kB\n", 24_672_316 * 1024),
            ("MemFree: 1 kB\n", 0),
            ("", 0),
        ] {
            assert_eq!(memory_bytes(text), expect);
        }
    }
}

//! A worker's container engine: what was prepared and what runs. It outlives the agent, and not the machine.

use std::collections::{BTreeMap, BTreeSet};

/// The containers of a machine, by task.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    containers: BTreeMap<String, Container>,
}

#[derive(Debug)]
struct Container {
    is_running: bool,
    ports: Vec<u32>,
}

impl Engine {
    pub(crate) fn prepare(&mut self, task: &str, ports: Vec<u32>) {
        let created = Container { is_running: false, ports };
        self.containers.entry(task.to_owned()).or_insert(created);
    }

    /// Starts what was prepared.
    ///
    /// # Errors
    /// The port that another container has.
    pub(crate) fn start(&mut self, task: &str) -> Result<(), u32> {
        let taken: BTreeSet<u32> = self
            .containers
            .iter()
            .filter(|(of, container)| *of != task && container.is_running)
            .flat_map(|(_, container)| container.ports.iter().copied())
            .collect();
        if let Some(container) = self.containers.get_mut(task) {
            if let Some(port) = container.ports.iter().find(|port| taken.contains(port)) {
                return Err(*port);
            }
            container.is_running = true;
        }
        Ok(())
    }

    pub(crate) fn stop(&mut self, task: &str) {
        if let Some(container) = self.containers.get_mut(task) {
            container.is_running = false;
        }
    }

    pub(crate) fn remove(&mut self, task: &str) {
        self.containers.remove(task);
    }

    pub(crate) fn is_running(&self, task: &str) -> bool {
        self.containers.get(task).is_some_and(|container| container.is_running)
    }

    /// The tasks whose containers run.
    pub(crate) fn running(&self) -> BTreeSet<String> {
        let running = self.containers.iter().filter(|(_, container)| container.is_running);
        running.map(|(task, _)| task.clone()).collect()
    }

    /// The machine loses power.
    pub(crate) fn crash(&mut self) {
        self.containers.values_mut().for_each(|container| container.is_running = false);
    }
}

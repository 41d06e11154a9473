//! What the scheduler knows of a node: the node itself, and what the tasks on it leave free.
//!
//! Every task on a node is kept as it was counted, so that what was added is what is removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use swarm_proto::v1::{GenericResource, Node, Resources, Task, TaskState};

use crate::demand::{HostPort, host_ports, reservations};
use crate::failures::Failures;
use crate::generic::Pool;

/// A node, and what is left of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeInfo {
    pub(crate) node: Arc<Node>,
    pub(crate) nano_cpus: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) generic: Pool,
    pub(crate) failures: Failures,
    /// Tasks that are to run here, of all services.
    pub(crate) active: u64,
    by_service: HashMap<String, Count>,
    /// How many tasks use a port: briefly more than one while one task replaces another.
    ports: BTreeMap<HostPort, u32>,
    /// The tasks as they are counted, by ID.
    tasks: HashMap<String, Arc<Task>>,
}

/// Tasks of one service.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// Those that are to run.
    active: u64,
    /// With those that are to go and have not.
    placed: u64,
}

impl NodeInfo {
    /// An empty node.
    pub(crate) fn new(node: Arc<Node>, failures: Failures) -> Self {
        let none = Resources::default();
        let described = resources(&node).unwrap_or(&none);
        Self {
            nano_cpus: described.nano_cpus,
            memory_bytes: described.memory_bytes,
            generic: Pool::new(&described.generic),
            failures,
            node,
            ..Self::default()
        }
    }

    /// Takes what the node says now. Its tasks are counted anew only where what it offers changed: nodes are written
    /// often, for other reasons.
    pub(crate) fn replace(&mut self, node: Arc<Node>) {
        if resources(&self.node) == resources(&node) {
            self.node = node;
            return;
        }
        let empty = Self::new(node, std::mem::take(&mut self.failures));
        let before = std::mem::replace(self, empty);
        before.tasks.into_values().for_each(|task| self.put(task));
    }

    /// How many tasks of a service are to run here.
    pub(crate) fn active_of(&self, service_id: &str) -> u64 {
        self.by_service.get(service_id).map_or(0, |count| count.active)
    }

    /// How many tasks of a service are here, with those that were told to stop and have not.
    pub(crate) fn placed_of(&self, service_id: &str) -> u64 {
        self.by_service.get(service_id).map_or(0, |count| count.placed)
    }

    /// The services that have tasks that are to run here.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        let active = self.by_service.iter().filter(|(_, count)| count.active > 0);
        active.map(|(service, _)| service.as_str())
    }

    pub(crate) fn uses_port(&self, port: HostPort) -> bool {
        self.ports.contains_key(&port)
    }

    /// Counts a task that is on this node, in place of what was counted of it.
    pub(crate) fn put(&mut self, task: Arc<Task>) {
        let before = match self.tasks.get_mut(&task.id) {
            Some(counted) => Some(std::mem::replace(counted, task.clone())),
            None => self.tasks.insert(task.id.clone(), task.clone()),
        };
        match before {
            Some(before) if takes_as_much(&before, &task) => {}
            before => {
                if let Some(before) = before {
                    self.unload(&before);
                }
                self.load(&task);
            }
        }
    }

    /// Uncounts a task.
    pub(crate) fn take(&mut self, id: &str) {
        if let Some(task) = self.tasks.remove(id) {
            self.unload(&task);
        }
    }

    fn load(&mut self, task: &Task) {
        if let Some(reservations) = reservations(task) {
            self.nano_cpus -= reservations.nano_cpus;
            self.memory_bytes -= reservations.memory_bytes;
        }
        self.generic.take(&task.assigned_generic_resources);
        for port in task.endpoint.iter().flat_map(host_ports) {
            *self.ports.entry(port).or_default() += 1;
        }
        let active = u64::from(is_active(task));
        self.active += active;
        match self.by_service.get_mut(&task.service_id) {
            Some(count) => {
                count.active += active;
                count.placed += 1;
            }
            None => {
                self.by_service.insert(task.service_id.clone(), Count { active, placed: 1 });
            }
        }
    }

    fn unload(&mut self, task: &Task) {
        if let Some(reservations) = reservations(task) {
            self.nano_cpus += reservations.nano_cpus;
            self.memory_bytes += reservations.memory_bytes;
        }
        let described: &[GenericResource] =
            resources(&self.node).map_or(&[], |resources| &resources.generic);
        self.generic.give_back(&task.assigned_generic_resources, described);
        for port in task.endpoint.iter().flat_map(host_ports) {
            if let Some(count) = self.ports.get_mut(&port) {
                *count -= 1;
                if *count == 0 {
                    self.ports.remove(&port);
                }
            }
        }
        let active = u64::from(is_active(task));
        self.active = self.active.saturating_sub(active);
        if let Some(count) = self.by_service.get_mut(&task.service_id) {
            count.active -= active;
            count.placed -= 1;
            if count.placed == 0 {
                self.by_service.remove(&task.service_id);
            }
        }
    }
}

/// Whether two states of a task take up the same of their node.
fn takes_as_much(one: &Task, other: &Task) -> bool {
    is_active(one) == is_active(other)
        && one.service_id == other.service_id
        && reservations(one) == reservations(other)
        && one.assigned_generic_resources == other.assigned_generic_resources
        && one.endpoint == other.endpoint
}

/// What a node says it has.
pub(crate) fn resources(node: &Node) -> Option<&Resources> {
    node.description.as_ref()?.resources.as_ref()
}

/// The observed state of a task.
pub(crate) fn observed(task: &Task) -> i32 {
    task.status.as_ref().map_or(TaskState::New as i32, |status| status.state)
}

/// Whether a task is to run, now or soon: the tasks of jobs are desired COMPLETE.
pub(crate) fn is_active(task: &Task) -> bool {
    task.desired_state <= TaskState::Complete as i32
}

/// Whether a task takes up room on its node.
pub(crate) fn is_placed(task: &Task) -> bool {
    let state = observed(task);
    !task.node_id.is_empty()
        && state >= TaskState::Assigned as i32
        && state <= TaskState::Running as i32
}

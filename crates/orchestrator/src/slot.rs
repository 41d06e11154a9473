//! Slots: the places of a service that tasks fill one after the other.

use std::sync::Arc;

use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Service, Task};
use swarm_store::Tables;

use crate::task::mode;

/// A slot's identity: a number for a replicated service or job, a node for a global one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotKey {
    pub(crate) service_id: String,
    /// 0 for global services, and for the first slot of a job.
    pub(crate) number: u64,
    /// Empty where slots are numbered.
    pub(crate) node_id: String,
}

impl SlotKey {
    /// The slot of `service` that a task fills.
    pub(crate) fn of(service: &Service, task: &Task) -> Self {
        Self::new(task, matches!(mode(service), Some(Mode::Global(_) | Mode::GlobalJob(_))))
    }

    /// The slot that a task fills, as far as can be known: its service may be gone.
    pub(crate) fn find(tables: &Tables, task: &Task) -> Self {
        match tables.get::<Service>(&task.service_id) {
            Some(service) => Self::of(service, task),
            None => Self::new(task, task.slot == 0),
        }
    }

    fn new(task: &Task, is_global: bool) -> Self {
        let node_id = if is_global { task.node_id.clone() } else { String::new() };
        Self { service_id: task.service_id.clone(), number: task.slot, node_id }
    }

    /// All recorded tasks of this slot, dead ones too.
    pub(crate) fn tasks(&self, tables: &Tables) -> Vec<Arc<Task>> {
        let tasks = tables.tasks_by_slot(&self.service_id, self.number);
        let is_here = |task: &&Arc<Task>| self.node_id.is_empty() || task.node_id == self.node_id;
        tasks.filter(is_here).cloned().collect()
    }
}

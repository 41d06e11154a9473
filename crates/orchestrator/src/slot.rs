//! Slots: the places of a service that tasks fill one after the other.

use std::sync::Arc;

use swarm_proto::v1::Task;
use swarm_store::Tables;

/// A slot's identity: a number for a replicated service, a node for a global one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotKey {
    pub(crate) service_id: String,
    /// 0 for global services.
    pub(crate) number: u64,
    /// Empty for replicated services.
    pub(crate) node_id: String,
}

impl SlotKey {
    /// The slot that a task fills. Only the tasks of global services have no number.
    pub(crate) fn of(task: &Task) -> Self {
        let node_id = if task.slot == 0 { task.node_id.clone() } else { String::new() };
        Self { service_id: task.service_id.clone(), number: task.slot, node_id }
    }

    /// All recorded tasks of this slot, dead ones too.
    pub(crate) fn tasks(&self, tables: &Tables) -> Vec<Arc<Task>> {
        let tasks = tables.tasks_by_slot(&self.service_id, self.number);
        tasks.filter(|task| self.number != 0 || task.node_id == self.node_id).cloned().collect()
    }
}

//! Statuses on their way to the manager: the newest per task, one request at a time. As `swarm_agent`'s reporter.

use std::collections::BTreeMap;

use swarm_proto::v1::TaskStatus;
use swarm_proto::v1::update_task_status_request::TaskStatusUpdate;

/// Statuses that the manager does not have yet.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    waiting: BTreeMap<String, TaskStatus>,
    in_flight: Vec<TaskStatusUpdate>,
}

impl Reports {
    pub(crate) fn report(&mut self, task: &str, status: TaskStatus) {
        self.waiting.insert(task.to_owned(), status);
    }

    pub(crate) fn forget(&mut self, task: &str) {
        self.waiting.remove(task);
    }

    /// The next request; none while one is out, or for nothing.
    pub(crate) fn take(&mut self) -> Option<Vec<TaskStatusUpdate>> {
        if !self.in_flight.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let updates =
            waiting.map(|(task_id, status)| TaskStatusUpdate { task_id, status: Some(status) });
        self.in_flight = updates.collect();
        Some(self.in_flight.clone())
    }

    /// The manager has what was sent.
    pub(crate) fn taken(&mut self) {
        self.in_flight.clear();
    }

    /// What was sent may be lost: it waits again, unless something newer does.
    pub(crate) fn put_back(&mut self) {
        for update in self.in_flight.drain(..) {
            if let Some(status) = update.status {
                self.waiting.entry(update.task_id).or_insert(status);
            }
        }
    }
}

//! Statuses on their way to the manager: the newest per task, sent together, kept until the manager has them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use swarm_proto::v1::TaskStatus;
use swarm_proto::v1::update_task_status_request::TaskStatusUpdate;
use tokio::sync::Notify;

/// As many statuses go in one request at most, which keeps it far below gRPC's 4 MiB.
const BATCH_MAX: usize = 1000;

/// Statuses that the manager does not have yet. A newer status of a task replaces the older.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    waiting: Mutex<BTreeMap<String, TaskStatus>>,
    reported: Notify,
}

impl Reporter {
    pub(crate) fn report(&self, task: &str, status: TaskStatus) {
        self.waiting().insert(task.to_owned(), status);
        self.reported.notify_one();
    }

    pub(crate) fn forget(&self, task: &str) {
        self.waiting().remove(task);
    }

    /// Waits for statuses and takes a batch of them. Dropping the future loses none.
    pub(crate) async fn take(&self) -> Vec<TaskStatusUpdate> {
        loop {
            let reported = self.reported.notified();
            let batch = self.batch();
            if !batch.is_empty() {
                return batch;
            }
            reported.await;
        }
    }

    fn batch(&self) -> Vec<TaskStatusUpdate> {
        let mut waiting = self.waiting();
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX
            && let Some((task_id, status)) = waiting.pop_first()
        {
            batch.push(TaskStatusUpdate { task_id, status: Some(status) });
        }
        batch
    }

    /// Takes back what could not be sent, unless something newer waits.
    pub(crate) fn put_back(&self, batch: Vec<TaskStatusUpdate>) {
        let mut waiting = self.waiting();
        for update in batch {
            if let Some(status) = update.status {
                waiting.entry(update.task_id).or_insert(status);
            }
        }
        self.reported.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, TaskStatus>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_proto::v1::TaskState;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus { state: state.into(), ..TaskStatus::default() }
    }

    #[tokio::test]
    async fn keeps_the_newest_status_of_each_task() {
        let reporter = Reporter::default();
        reporter.report("a", status(TaskState::Accepted));
        reporter.report("a", status(TaskState::Running));
        reporter.report("b", status(TaskState::Preparing));
        let batch = reporter.take().await;
        assert_eq!(batch.len(), 2);
        assert_eq!(batch[0].status, Some(status(TaskState::Running)));
        reporter.report("a", status(TaskState::Failed));
        reporter.put_back(batch);
        let again = reporter.take().await;
        assert_eq!(again[0].status, Some(status(TaskState::Failed)));
        assert_eq!(again[1].status, Some(status(TaskState::Preparing)));
    }
}

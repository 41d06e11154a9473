//! The node's assignments: which tasks are driven here, and the secrets and configs they need.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use swarm_proto::v1::assignment::Item;
use swarm_proto::v1::assignment_change::AssignmentAction;
use swarm_proto::v1::assignments_message::Type;
use swarm_proto::v1::{AssignmentChange, AssignmentsMessage, LogSelector, Task};
use tokio::sync::Mutex;
use tracing::info;

use crate::controller::{Controller, Executor};
use crate::database::Database;
use crate::dependencies::Dependencies;
use crate::reporter::Reporter;
use crate::task_manager::TaskManager;

/// Drives the tasks that the manager assigns to this node.
pub(crate) struct Worker {
    executor: Arc<dyn Executor>,
    database: Database,
    dependencies: Arc<Dependencies>,
    reporter: Arc<Reporter>,
    managers: Mutex<BTreeMap<String, TaskManager>>,
}

impl Worker {
    /// Takes up the tasks that were assigned before a restart.
    pub(crate) async fn open(
        folder: &Path,
        executor: Arc<dyn Executor>,
        reporter: Arc<Reporter>,
    ) -> io::Result<Self> {
        let database = Database::open(folder)?;
        let worker = Self {
            executor,
            database,
            dependencies: Arc::default(),
            reporter,
            managers: Mutex::default(),
        };
        for task in worker.database.load()? {
            info!(task.id = task.id, "taking a task up again");
            if let Some(status) = &task.status {
                // The manager may have missed the last report.
                worker.reporter.report(&task.id, status.clone());
            }
            worker.drive(&mut *worker.managers.lock().await, task);
        }
        Ok(worker)
    }

    /// Follows one message of the assignments stream.
    pub(crate) async fn assign(self: &Arc<Self>, message: AssignmentsMessage) {
        let complete = message.r#type() == Type::Complete;
        let mut managers = self.managers.lock().await;
        if complete {
            self.dependencies.clear();
        }
        let (updates, removals): (Vec<_>, Vec<_>) = message
            .changes
            .into_iter()
            .partition(|change| change.action() == AssignmentAction::Update);
        let (tasks, others): (Vec<_>, Vec<_>) =
            updates.into_iter().filter_map(item).partition(|item| matches!(item, Item::Task(_)));
        for item in others {
            match item {
                Item::Secret(secret) => self.dependencies.put_secret(secret),
                Item::Config(config) => self.dependencies.put_config(config),
                Item::Task(_) | Item::Volume(_) => {}
            }
        }
        let mut assigned = BTreeSet::new();
        for item in tasks {
            if let Item::Task(task) = item {
                assigned.insert(task.id.clone());
                self.drive(&mut managers, task);
            }
        }
        let mut gone: Vec<String> = match complete {
            true => managers.keys().filter(|id| !assigned.contains(*id)).cloned().collect(),
            false => Vec::new(),
        };
        for item in removals.into_iter().filter_map(item) {
            match item {
                Item::Task(task) => gone.push(task.id),
                Item::Secret(secret) => self.dependencies.remove_secret(&secret.id),
                Item::Config(config) => self.dependencies.remove_config(&config.id),
                Item::Volume(_) => {}
            }
        }
        for id in gone {
            self.drop_task(&mut managers, &id);
        }
    }

    /// Starts to drive a task, or tells its manager what is new.
    fn drive(&self, managers: &mut BTreeMap<String, TaskManager>, task: Task) {
        if let Some(manager) = managers.get(&task.id) {
            return manager.update(task);
        }
        self.database.put(&task);
        let controller = self.executor.controller(&task, self.dependencies.clone());
        let manager = TaskManager::start(
            task.clone(),
            controller,
            self.database.clone(),
            self.reporter.clone(),
        );
        managers.insert(task.id, manager);
    }

    /// Lets go of a task: its container is stopped and removed, and it is forgotten once that is done.
    fn drop_task(self: &Arc<Self>, managers: &mut BTreeMap<String, TaskManager>, id: &str) {
        let Some(manager) = managers.remove(id) else { return };
        let (worker, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            manager.remove().await;
            worker.database.delete(&id);
            worker.reporter.forget(&id);
        });
    }

    /// The tasks here that a log subscription selects.
    pub(crate) async fn select(
        &self,
        selector: &LogSelector,
        node_id: &str,
    ) -> Vec<(Task, Arc<dyn Controller>)> {
        let managers = self.managers.lock().await;
        let selected = |task: &Task| {
            selector.task_ids.contains(&task.id)
                || selector.service_ids.contains(&task.service_id)
                || selector.node_ids.iter().any(|id| id == node_id)
        };
        managers
            .values()
            .map(|manager| (manager.task(), manager.controller()))
            .filter(|(task, _)| selected(task))
            .collect()
    }
}

fn item(change: AssignmentChange) -> Option<Item> {
    change.assignment?.item
}

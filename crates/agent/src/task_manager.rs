//! Drives one task: asks `swarm_lifecycle` what comes next, lets the controller do it, records and reports.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::task_status::RuntimeStatus;
use swarm_proto::v1::{Task, TaskState, TaskStatus};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use crate::controller::{Controller, ControllerError};
use crate::database::Database;
use crate::reporter::Reporter;
use swarm_lifecycle::{Operation, Step, failure, next};

/// The first pause before a temporary failure is tried again; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// A task at work. Dropping it stops the driving and leaves the container as it is.
#[derive(Debug)]
pub(crate) struct TaskManager {
    assigned: watch::Sender<Task>,
    driver: JoinHandle<()>,
    remover: Arc<RemoveOnce>,
}

struct RemoveOnce {
    controller: Arc<dyn Controller>,
}

impl std::fmt::Debug for RemoveOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RemoveOnce")
    }
}

impl TaskManager {
    /// Starts to drive `task` from the status that it carries.
    pub(crate) fn start(
        task: Task,
        controller: Arc<dyn Controller>,
        database: Database,
        reporter: Arc<Reporter>,
    ) -> Self {
        let (assigned, updates) = watch::channel(task.clone());
        let driver = Driver {
            id: task.id.clone(),
            status: task.status.clone().unwrap_or_default(),
            controller: controller.clone(),
            updates,
            database,
            reporter,
            retry: RETRY_FIRST,
        };
        let remover = Arc::new(RemoveOnce { controller });
        Self { assigned, driver: tokio::spawn(driver.run()), remover }
    }

    /// Takes what the manager says now of the task; the node's own view of its status is kept.
    pub(crate) fn update(&self, task: Task) {
        self.assigned.send_if_modified(|held| {
            let changed = held.desired_state != task.desired_state || held.spec != task.spec;
            *held = task;
            changed
        });
    }

    pub(crate) fn controller(&self) -> Arc<dyn Controller> {
        self.remover.controller.clone()
    }

    pub(crate) fn task(&self) -> Task {
        self.assigned.borrow().clone()
    }

    /// Ends the driving, stops the container and removes it.
    pub(crate) async fn remove(self) {
        self.driver.abort();
        // Either it was cancelled or it had ended: both are what is wanted.
        let _ = self.driver.await;
        let task_id = self.assigned.borrow().id.clone();
        let mut pause = RETRY_FIRST;
        for work in ["shutdown", "remove"] {
            loop {
                let result = match work {
                    "shutdown" => self.remover.controller.shutdown().await,
                    _ => self.remover.controller.remove().await,
                };
                let Err(ControllerError::Temporary(error)) = result else { break };
                debug!(task.id = task_id, error, "{work} of an unassigned task is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

struct Driver {
    id: String,
    status: TaskStatus,
    controller: Arc<dyn Controller>,
    updates: watch::Receiver<Task>,
    database: Database,
    reporter: Arc<Reporter>,
    retry: Duration,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let desired = self.updates.borrow_and_update().desired_state();
            match next(self.status.state(), desired) {
                Step::Rest => {
                    if self.updates.changed().await.is_err() {
                        return;
                    }
                }
                // A daemon that is started again comes through it once more: no work depends on it.
                Step::Advance(state, message) => {
                    self.take_on(state, message, String::new()).await;
                    self.reporter.report(&self.id, self.status.clone());
                }
                Step::Run(operation, state, message) => {
                    let controller = self.controller.clone();
                    match self.or_update(perform(controller, operation)).await {
                        Some(result) => self.finish(result, state, message).await,
                        // Something else may be wanted now: ask again.
                        None => continue,
                    }
                }
            }
        }
    }

    /// Runs `work` to its end, or until the assignment asks for another state; the work is cut short then.
    async fn or_update<R>(&mut self, work: impl Future<Output = R>) -> Option<R> {
        tokio::select! {
            result = work => Some(result),
            changed = self.updates.changed() => match changed {
                Ok(()) => None,
                // The worker let go of the task; `remove` or a restart decides.
                Err(_) => std::future::pending().await,
            },
        }
    }

    async fn finish(
        &mut self,
        result: Result<(), ControllerError>,
        state: TaskState,
        message: &str,
    ) {
        match result {
            Ok(()) => {
                self.retry = RETRY_FIRST;
                self.enter(state, message, String::new()).await;
            }
            Err(ControllerError::Temporary(error)) => {
                let (now, message) = (self.status.state(), self.status.message.clone());
                if self.status.err != error {
                    self.enter(now, &message, error).await;
                }
                let pause = tokio::time::sleep(self.retry);
                self.retry = (self.retry * 2).min(RETRY_MAX);
                self.or_update(pause).await;
            }
            Err(error) => {
                let end = failure(self.status.state());
                let message = self.status.message.clone();
                self.enter(end, &message, error.to_string()).await;
            }
        }
    }

    /// Makes `state` the task's, on disk first and then on its way to the manager.
    async fn enter(&mut self, state: TaskState, message: &str, err: String) {
        self.take_on(state, message, err).await;
        let mut task = self.updates.borrow().clone();
        task.status = Some(self.status.clone());
        self.database.put(&task);
        self.reporter.report(&self.id, self.status.clone());
    }

    async fn take_on(&mut self, state: TaskState, message: &str, err: String) {
        let from = self.status.state();
        info!(task.id = self.id, ?from, to = ?state, err, "task state");
        self.status.set_state(state);
        self.status.message = message.to_owned();
        self.status.err = err;
        self.status.timestamp = Some(from_system_time(SystemTime::now()));
        if state >= TaskState::Starting {
            if let Some(container) = self.controller.container_status().await {
                self.status.runtime_status = Some(RuntimeStatus::Container(container));
            }
            self.status.port_status = self.controller.port_status().await;
        }
    }
}

async fn perform(
    controller: Arc<dyn Controller>,
    operation: Operation,
) -> Result<(), ControllerError> {
    match operation {
        Operation::Prepare => controller.prepare().await,
        Operation::Start => controller.start().await,
        Operation::Wait => controller.wait().await,
        Operation::Shutdown => controller.shutdown().await,
    }
}

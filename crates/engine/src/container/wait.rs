//! Waiting for a container (`docker wait`), from what its record says, never from an event.

use bollard_stubs::models::{ContainerWaitExitError, ContainerWaitResponse};

use super::health::HealthStatus;
use super::{Record, Status};
use crate::engine::Engine;
use crate::error::Result;

/// What to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run; true at once for one that never ran.
    #[default]
    NotRunning,
    /// It ends once more.
    NextExit,
    /// It is gone.
    Removed,
}

/// What waiters look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) running: bool,
    /// The init's PID, which tells one run from the next; 0 without one.
    pub(crate) pid: i32,
    /// None where nothing is checked.
    pub(crate) health: Option<HealthStatus>,
    pub(crate) restarting: bool,
    pub(crate) removed: bool,
    /// How often it ended since the engine knows it.
    pub(crate) exits: u64,
    pub(crate) exit_code: i32,
    pub(crate) error: String,
}

impl Progress {
    /// The progress of a container as loaded.
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            running: record.is_running(),
            pid: record.state.pid,
            health: record.health_status(),
            restarting: record.state.status == Status::Restarting,
            removed: false,
            exits: 0,
            exit_code: record.state.exit_code,
            error: record.state.error.clone(),
        }
    }

    /// Whether nothing more will come from it, unless someone starts it anew.
    pub(crate) fn has_ended(&self) -> bool {
        self.removed || (!self.running && !self.restarting)
    }

    /// Follows a change of the record.
    pub(crate) fn follow(&mut self, record: &Record) {
        let running = record.is_running();
        if self.running && !running {
            self.exits += 1;
        }
        self.running = running;
        self.pid = record.state.pid;
        self.health = record.health_status();
        self.restarting = record.state.status == Status::Restarting;
        self.exit_code = record.state.exit_code;
        self.error.clone_from(&record.state.error);
    }
}

impl Engine {
    /// Waits until `condition` holds; answers with the exit code.
    pub async fn wait(
        &self,
        reference: &str,
        condition: WaitCondition,
    ) -> Result<ContainerWaitResponse> {
        let container = self.container(reference)?;
        let mut progress = container.progress.subscribe();
        drop(container);
        let seen = progress.borrow().exits;
        let holds = |p: &Progress| match condition {
            WaitCondition::NotRunning => p.removed || (!p.running && !p.restarting),
            WaitCondition::NextExit => p.removed || p.exits > seen,
            WaitCondition::Removed => p.removed,
        };
        let reached = progress.wait_for(holds).await.map(|reached| reached.clone());
        // A container that was forgotten altogether was removed before.
        let Progress { exit_code, error, .. } =
            reached.unwrap_or_else(|_| progress.borrow().clone());
        let error = (!error.is_empty()).then_some(ContainerWaitExitError { message: Some(error) });
        Ok(ContainerWaitResponse { status_code: i64::from(exit_code), error })
    }
}

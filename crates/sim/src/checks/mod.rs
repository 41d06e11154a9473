//! What must hold at every step, one file each. A violation ends the run.

mod acknowledged;
mod apart;
mod converged;
mod cron;
mod leaders;
mod log;
pub(crate) mod moves;
pub(crate) mod ports;
mod roles;
mod running;
mod tasks;

use swarm_store::Commit;

pub(crate) use acknowledged::{Acknowledged, Key, Mark, REVISION_LABEL};
pub(crate) use converged::{difference, unconverged};
pub(crate) use leaders::Leaders;
pub(crate) use log::CommittedLog;
pub(crate) use running::Running;

/// All checks, and the first violation.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) leaders: Leaders,
    pub(crate) log: CommittedLog,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) running: Running,
    /// How many reads were answered.
    pub(crate) reads: usize,
    violation: Option<String>,
}

impl Checks {
    /// A check's outcome.
    pub(crate) fn expect(&mut self, result: Result<(), String>) {
        if let Err(violation) = result {
            self.violation.get_or_insert(violation);
        }
    }

    /// A member's store has published this commit.
    pub(crate) fn commit(&mut self, manager: u64, commit: &Commit) {
        let result = tasks::check(commit)
            .and_then(|()| ports::check(commit))
            .and_then(|()| cron::check(commit))
            .and_then(|()| moves::check(commit))
            .and_then(|()| apart::check(commit))
            .map_err(|violation| format!("manager {manager}: {violation}"));
        self.log.certify(commit);
        self.expect(result);
    }

    /// The first violation, if there was one.
    pub(crate) fn violation(&self) -> Option<String> {
        self.violation.clone().or_else(|| self.log.violation())
    }
}

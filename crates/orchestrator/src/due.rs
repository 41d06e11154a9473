//! Tasks that are to be looked at at an instant of their own.

use std::collections::BTreeSet;
use std::time::SystemTime;

/// The tasks, by that instant. Bounded by the tasks that there are: who looks at one that has changed its mind finds
/// nothing to do.
#[derive(Debug, Default)]
pub(crate) struct Due(BTreeSet<(SystemTime, String)>);

impl Due {
    pub(crate) fn add(&mut self, at: SystemTime, task_id: &str) {
        self.0.insert((at, task_id.to_owned()));
    }

    /// Those whose time has come.
    pub(crate) fn expire(&mut self, now: SystemTime) -> Vec<String> {
        let mut expired = Vec::new();
        while self.0.first().is_some_and(|(at, _)| *at <= now) {
            expired.extend(self.0.pop_first().map(|(_, id)| id));
        }
        expired
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn wakeup(&self) -> Option<SystemTime> {
        self.0.first().map(|(at, _)| *at)
    }
}

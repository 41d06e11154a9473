//! What runs on the workers themselves: a task object on one of them only, whatever the managers believe.

use std::collections::BTreeMap;

/// Where each task was started.
#[derive(Debug, Default)]
pub(crate) struct Running {
    started: BTreeMap<String, u64>,
}

impl Running {
    /// A worker starts a task.
    pub(crate) fn start(&mut self, task: &str, worker: u64) -> Result<(), String> {
        let first = *self.started.entry(task.to_owned()).or_insert(worker);
        if first == worker {
            return Ok(());
        }
        Err(format!("a task runs on one node: task {task} starts on worker {worker} after {first}"))
    }

    /// How many tasks were ever started.
    pub(crate) fn len(&self) -> usize {
        self.started.len()
    }
}

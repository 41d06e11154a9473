//! The service that is measured with, and waiting for its tasks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::Client;
use crate::interrupt::wait;

/// How long a state may take before its measurement is given up.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The specification of a replicated service whose containers sleep, and end at once when they are told to.
pub(crate) fn spec(name: &str, image: &str, replicas: u64) -> Value {
    json!({
        "Name": name,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Command": ["sleep", "1000000"],
                "StopSignal": "SIGKILL",
            },
            "RestartPolicy": { "Condition": "any", "Delay": 0 },
        },
        "Mode": { "Replicated": { "Replicas": replicas } },
    })
}

/// A service of a manager. It must be removed with [`Service::remove`].
#[derive(Debug)]
pub(crate) struct Service {
    id: String,
}

impl Service {
    /// Creates it.
    pub(crate) fn create(manager: &mut Client, spec: &Value) -> Result<Self> {
        let answer = manager.post("/services/create", spec)?;
        Ok(Self { id: answer["ID"].as_str().context("an answer without ID")?.into() })
    }

    /// Gives it another specification.
    pub(crate) fn update(&self, manager: &mut Client, spec: &Value) -> Result<()> {
        let service = manager.get(&format!("/services/{}", self.id))?;
        let version = &service["Version"]["Index"];
        manager.post(&format!("/services/{}/update?version={version}", self.id), spec)?;
        Ok(())
    }

    /// Waits until so many of its tasks run, and run on none of the nodes of these IDs; since `start`.
    pub(crate) fn running(
        &self,
        manager: &mut Client,
        count: usize,
        lost_nodes: &[String],
        start: Instant,
    ) -> Result<Duration> {
        // A short look for one container; many tasks are dear to list, and take long.
        let interval = Duration::from_millis(if count == 1 { 2 } else { 15 });
        wait(&format!("{count} running tasks"), TIMEOUT, interval, || {
            // Without a leader there is no answer for a while.
            let Ok(tasks) = self.tasks(manager) else { return Ok(None) };
            let runs = |task: &&Value| {
                task["Status"]["State"] == "running"
                    && task["DesiredState"] == "running"
                    && !lost_nodes.iter().any(|node| task["NodeID"] == **node)
            };
            Ok((tasks.iter().filter(runs).count() == count).then(|| start.elapsed()))
        })
    }

    /// How many of its tasks run, as the manager counts them.
    pub(crate) fn count_running(&self, manager: &mut Client) -> Result<u64> {
        let services = manager.get("/services?status=true")?;
        let services = services.as_array().context("no list of services")?;
        let own = services.iter().find(|service| service["ID"] == *self.id);
        let own = own.context("the service is gone")?;
        Ok(own["ServiceStatus"]["RunningTasks"].as_u64().unwrap_or_default())
    }

    /// Removes it, and waits until its tasks are gone.
    pub(crate) fn remove(self, manager: &mut Client) -> Result<()> {
        manager.delete(&format!("/services/{}", self.id))?;
        wait("the tasks to go", TIMEOUT, Duration::from_millis(50), || {
            Ok(self.tasks(manager)?.is_empty().then_some(()))
        })
    }

    /// Its tasks that are not long gone. All are asked for: a removed service is no filter.
    fn tasks(&self, manager: &mut Client) -> Result<Vec<Value>> {
        let Value::Array(mut tasks) = manager.get("/tasks")? else { return Ok(Vec::new()) };
        tasks.retain(|task| task["ServiceID"] == *self.id);
        Ok(tasks)
    }
}

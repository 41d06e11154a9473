//! Stopping gracefully and restarting (`docker stop`, `docker restart`).

use std::sync::Arc;
use std::time::Duration;

use super::{Container, Record, Status, signal};
use crate::engine::Engine;
use crate::error::{Error, ErrorClass, Result};

/// Grace period unless the container or the caller say otherwise.
const STOP_TIMEOUT_SECONDS: i64 = 10;
/// How long a killed container may take to end; the kernel may be busy with its memory.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// The signal that asks this container to end.
pub(crate) fn stop_signal(record: &Record) -> i32 {
    let named = record.config.stop_signal.as_deref().filter(|name| !name.is_empty());
    named.and_then(|name| signal::parse(name).ok()).unwrap_or(signal::STOP_SIGNAL)
}

impl Engine {
    /// Asks the container to end and kills it after `timeout_seconds` (the container's own unless given; negative
    /// waits for ever). A container that doesn't run answers [`ErrorClass::NotModified`].
    pub async fn stop(&self, reference: &str, timeout_seconds: Option<i64>) -> Result<()> {
        let container = self.container(reference)?;
        container.update(true, |record| record.manually_stopped = true)?;
        if container.read(|record| record.state.status == Status::Restarting) {
            self.cancel_restart(&container)?;
            return Ok(());
        }
        if !container.read(Record::is_running) {
            let message = format!("container {} is not running", container.id);
            return Err(Error::new(ErrorClass::NotModified, message));
        }
        self.stop_running(&container, timeout_seconds).await?;
        container.publish(&self.inner.events, "stop", &[]);
        Ok(())
    }

    /// Stops the container if it runs and starts it.
    pub async fn restart(&self, reference: &str, timeout_seconds: Option<i64>) -> Result<()> {
        let container = self.container(reference)?;
        if container.read(Record::is_running) {
            container.update(false, |record| record.manually_stopped = true)?;
            self.stop_running(&container, timeout_seconds).await?;
            container.publish(&self.inner.events, "stop", &[]);
        }
        match self.start(container.id.as_str()).await {
            // A restart policy was quicker.
            Err(error) if error.class() == ErrorClass::NotModified => {}
            other => other?,
        }
        container.publish(&self.inner.events, "restart", &[]);
        Ok(())
    }

    pub(crate) async fn stop_running(
        &self,
        container: &Arc<Container>,
        timeout_seconds: Option<i64>,
    ) -> Result<()> {
        let own = container.read(|record| record.config.stop_timeout);
        let seconds = timeout_seconds.or(own).unwrap_or(STOP_TIMEOUT_SECONDS);
        let signal = container.read(stop_signal);
        self.signal(container, signal).await;
        let grace = u64::try_from(seconds).ok().map(Duration::from_secs);
        if self.ended_within(container, grace).await {
            return Ok(());
        }
        self.signal(container, libc::SIGKILL).await;
        if self.ended_within(container, Some(KILL_PATIENCE)).await {
            return Ok(());
        }
        // The shim may be stuck where signals do not reach; the cgroup names every process.
        self.inner.cgroups.kill(&self.inner.config.cgroup(container.id.as_str()));
        if self.ended_within(container, Some(KILL_PATIENCE)).await {
            return Ok(());
        }
        let message =
            format!("tried to kill container, but did not receive an exit event: {}", container.id);
        Err(Error::system(message))
    }

    /// Signals a container that may be ending this moment, which is no error.
    async fn signal(&self, container: &Container, number: i32) {
        if let Some(shim) = container.shim() {
            let _ = shim.kill(number).await;
            container.publish(&self.inner.events, "kill", &[("signal", number.to_string())]);
        }
    }

    async fn ended_within(&self, container: &Container, patience: Option<Duration>) -> bool {
        let mut progress = container.progress.subscribe();
        let ended = progress.wait_for(|p| !p.running || p.removed);
        match patience {
            None => ended.await.is_ok(),
            Some(patience) => tokio::time::timeout(patience, ended).await.is_ok(),
        }
    }
}

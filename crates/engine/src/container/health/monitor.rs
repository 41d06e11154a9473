//! The loop that probes one run of a container, and waiting for what it finds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::probe::probe;
use super::{Health, HealthCheck, HealthStatus, ProbeResult};
use crate::container::Container;
use crate::container::wait::Progress;
use crate::engine::Engine;
use crate::error::Result;
use crate::timestamp;

/// What waiting for a container's health came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It runs, and is healthy or has no check.
    Fit,
    /// It runs and its check says no.
    Unhealthy,
    /// It ended.
    Ended,
}

impl Engine {
    /// Waits until it is known whether a started container is healthy. One without a check is [`Verdict::Fit`] at once.
    pub async fn wait_healthy(&self, reference: &str) -> Result<Verdict> {
        self.wait_verdict(reference, |progress| match progress.health {
            Some(HealthStatus::Starting) => None,
            Some(HealthStatus::Unhealthy) => Some(Verdict::Unhealthy),
            Some(HealthStatus::Healthy) | None => Some(Verdict::Fit),
        })
        .await
    }

    /// Waits until a container is [`Verdict::Unhealthy`] or has [`Verdict::Ended`].
    pub async fn wait_unhealthy(&self, reference: &str) -> Result<Verdict> {
        self.wait_verdict(reference, |progress| {
            (progress.health == Some(HealthStatus::Unhealthy)).then_some(Verdict::Unhealthy)
        })
        .await
    }

    async fn wait_verdict(
        &self,
        reference: &str,
        judge: impl Fn(&Progress) -> Option<Verdict>,
    ) -> Result<Verdict> {
        let container = self.container(reference)?;
        let mut progress = container.progress.subscribe();
        drop(container);
        let verdict = |progress: &Progress| match (progress.running, progress.has_ended()) {
            (true, _) => judge(progress),
            (false, true) => Some(Verdict::Ended),
            // A restart policy will start it again.
            (false, false) => None,
        };
        let reached = progress.wait_for(|progress| verdict(progress).is_some()).await;
        // A container that was forgotten altogether was removed before.
        Ok(reached.ok().and_then(|progress| verdict(&progress)).unwrap_or(Verdict::Ended))
    }

    /// Probes the container's present run, which has this PID, until it ends; nothing if it has no check.
    pub(crate) fn monitor_health(&self, container: &Arc<Container>, pid: i32) {
        let Some(check) = container.read(|record| HealthCheck::of(&record.config)) else { return };
        let (engine, container) = (self.clone(), container.clone());
        tokio::spawn(async move { engine.probe_until_ended(&container, pid, &check).await });
    }

    async fn probe_until_ended(&self, container: &Container, pid: i32, check: &HealthCheck) {
        let mut progress = container.progress.subscribe();
        loop {
            let Some(pause) = container.read(|record| pause(record, check)) else { return };
            if !lasts(&mut progress, pid, pause).await {
                return;
            }
            let result = tokio::select! {
                // What probes when the container ends is killed as its future is dropped.
                _ = progress.wait_for(|progress| progress.pid != pid) => return,
                result = probe(&self.inner.config, container, pid, check) => result,
            };
            if let Some(status) = observe(container, pid, check, result) {
                let action = format!("health_status: {}", status.as_str());
                container.publish(&self.inner.events, &action, &[]);
                tracing::debug!(container.id = %container.id, status = status.as_str(), "health");
            }
        }
    }
}

/// How long to wait for the next probe; none for a container that has no health, since it does not run.
fn pause(record: &crate::container::Record, check: &HealthCheck) -> Option<Duration> {
    let ran = timestamp::now_nanos().saturating_sub(record.state.started_at);
    Some(check.pause(record.health_status()?, Duration::from_nanos(ran)))
}

/// Whether the run goes on for `pause`.
async fn lasts(progress: &mut watch::Receiver<Progress>, pid: i32, pause: Duration) -> bool {
    let over = progress.wait_for(|progress| progress.pid != pid);
    tokio::time::timeout(pause, over).await.is_err()
}

/// Takes note of a result; the container's status if that changed it. Only a change is written to disk.
fn observe(
    container: &Container,
    pid: i32,
    check: &HealthCheck,
    result: ProbeResult,
) -> Option<HealthStatus> {
    let mut changed = None;
    let written = container.touch(|record| {
        if record.state.pid != pid {
            return false;
        }
        let (was, started_at) = (record.health_status(), record.state.started_at);
        let health = record.state.health.get_or_insert_with(|| Health::starting(None));
        health.observe(check, result, started_at);
        changed = Some(health.status).filter(|now| was != Some(*now));
        changed.is_some()
    });
    if let Err(error) = written {
        tracing::warn!(container.id = %container.id, %error, "recording the health failed");
    }
    changed
}

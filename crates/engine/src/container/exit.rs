//! The end of a run: hearing of it, cleaning up, deciding about a restart; and adopting what a former daemon left.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::health::{Health, HealthCheck, HealthStatus};
use super::restart_policy::{self, Ended};
use super::shim_client::{ShimClient, ShimEnd};
use super::{Container, Record, Status};
use crate::engine::Engine;
use crate::error::Result;
use crate::shim::ExitRecord;
use crate::timestamp;

/// Exit code of a container whose shim was lost, as in Docker.
const LOST_EXIT_CODE: i32 = 255;

impl Engine {
    /// Follows a running container to its end.
    pub(crate) fn watch(&self, container: Arc<Container>, end: ShimEnd, pid: i32) {
        let engine = self.clone();
        tokio::spawn(async move {
            let told = end.wait().await;
            engine.ended(container, pid, told).await;
        });
    }

    /// Takes note of the end of the run with this PID; `told` is what the shim said last.
    pub(crate) async fn ended(
        &self,
        container: Arc<Container>,
        pid: i32,
        told: Option<ExitRecord>,
    ) {
        let operation = container.operation.lock().await;
        if container.read(|record| !record.is_running() || record.state.pid != pid) {
            return;
        }
        let exit = told.unwrap_or_else(|| self.exit_record(&container, pid));
        container.set_shim(None);
        self.tear_down(&container).await;
        let before = container.record();
        let pause = restart_policy::next_start(
            before.host.restart_policy.as_ref(),
            &ended(&before, &exit, &container),
        );
        let changed = container.update(true, |record| {
            let state = &mut record.state;
            state.status = if pause.is_some() { Status::Restarting } else { Status::Exited };
            state.pid = 0;
            state.exit_code = exit.exit_code;
            state.oom_killed = exit.oom_killed;
            state.finished_at = exit.finished_at_nanos;
            // So does Docker show a container that nobody probes any more.
            if let Some(health) = &mut state.health {
                health.status = HealthStatus::Unhealthy;
            }
            record.attachment = None;
        });
        if let Err(error) = changed {
            tracing::error!(container.id = %container.id, %error, "recording the exit failed");
        }
        if exit.oom_killed {
            container.publish(&self.inner.events, "oom", &[]);
        }
        let code = ("exitCode", exit.exit_code.to_string());
        let ran = exit.finished_at_nanos.saturating_sub(before.state.started_at) / 1_000_000_000;
        container.publish(&self.inner.events, "die", &[code, ("execDuration", ran.to_string())]);
        tracing::debug!(container.id = %container.id, exit_code = exit.exit_code, "container ended");
        drop(operation);
        match pause {
            Some(pause) => self.restart_after(container, pause),
            None if before.host.auto_remove == Some(true) => {
                let _ = self.remove(container.id.as_str(), true, true).await;
            }
            None => {}
        }
    }

    /// How the run ended, by the shim's word; a shim that left none was lost, and its container goes with it.
    fn exit_record(&self, container: &Container, pid: i32) -> ExitRecord {
        let left: Option<ExitRecord> = fs::read(container.exit_path())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .filter(|record: &ExitRecord| record.pid == pid);
        left.unwrap_or_else(|| {
            tracing::warn!(container.id = %container.id, "the container's shim was lost");
            self.inner.cgroups.kill(&self.inner.config.cgroup(container.id.as_str()));
            ExitRecord {
                version: 1,
                pid,
                exit_code: LOST_EXIT_CODE,
                finished_at_nanos: timestamp::now_nanos(),
                oom_killed: false,
            }
        })
    }

    /// Undoes what starting made, as far as it was made.
    pub(crate) async fn tear_down(&self, container: &Container) {
        let cgroup = self.inner.config.cgroup(container.id.as_str());
        self.inner.cgroups.kill(&cgroup);
        if let Err(error) = self.detach_network(container).await {
            tracing::warn!(container.id = %container.id, %error, "detaching the network failed");
        }
        if let Err(error) = container.overlay.unmount() {
            tracing::warn!(container.id = %container.id, %error, "unmounting failed");
        }
        if let Err(error) = self.unmount_volumes(&container.record()) {
            tracing::warn!(container.id = %container.id, %error, "unmounting volumes failed");
        }
        self.inner.cgroups.remove(&cgroup);
        let _ = fs::remove_dir_all(&container.bundle);
    }

    fn restart_after(&self, container: Arc<Container>, pause: Duration) {
        container.set_last_pause(pause);
        let engine = self.clone();
        tokio::spawn(async move {
            let mut progress = container.progress.subscribe();
            let cancelled = progress.wait_for(|p| !p.restarting || p.removed);
            if tokio::time::timeout(pause, cancelled).await.is_ok() {
                return;
            }
            let _operation = container.operation.lock().await;
            if container.read(|record| record.state.status != Status::Restarting) {
                return;
            }
            let counted = container.update(false, |record| record.restart_count += 1);
            let started = match counted {
                Ok(_) => engine.start_locked(&container).await,
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                tracing::warn!(container.id = %container.id, %error, "restarting failed");
            }
        });
    }

    /// Gives up a restart that waits for its time.
    pub(crate) fn cancel_restart(&self, container: &Container) -> Result<()> {
        let changed = container.update(true, |record| {
            if record.state.status == Status::Restarting {
                record.state.status = Status::Exited;
            }
        });
        changed.map(drop)
    }

    /// Takes over what a former daemon left: connects to the shims that live, settles what ended meanwhile, and starts
    /// what starts with the daemon. A container whose record can't be read is left alone and reported.
    pub(crate) async fn adopt_all(&self) -> Result<()> {
        let folder = self.inner.config.data_root.join("containers");
        let entries = fs::read_dir(&folder).map_err(crate::error::io(folder.display()))?;
        let mut adopted = Vec::new();
        for entry in entries.flatten() {
            match Record::load(&entry.path()) {
                Ok(record) => adopted.push(self.register(record)?),
                Err(error) => tracing::error!(path = %entry.path().display(), %error, "skipped"),
            }
        }
        let mut attached = Vec::new();
        let mut ended = Vec::new();
        for container in &adopted {
            if !self.adopt(container).await {
                ended.push(container.clone());
            } else if let Some(attachment) = container.read(|record| record.attachment.clone()) {
                attached.push((container.id.to_string(), attachment));
            }
        }
        if let Some(bridge) = &self.inner.bridge
            && let Err(error) = bridge.restore(&attached).await
        {
            tracing::error!(%error, "restoring the bridge's endpoints failed");
        }
        // Only now, since restoring the bridge disconnects whom it does not name.
        for container in ended {
            self.settle(container).await;
        }
        Ok(())
    }

    /// Takes note of what happened to a container whose shim is gone.
    async fn settle(&self, container: Arc<Container>) {
        let (status, pid) = container.read(|record| (record.state.status, record.state.pid));
        match status {
            Status::Running => self.ended(container, pid, None).await,
            Status::Restarting => self.restart_after(container, Duration::ZERO),
            Status::Removing => {
                let _operation = container.operation.lock().await;
                if let Err(error) = self.remove_stopped(&container, false).await {
                    tracing::error!(container.id = %container.id, %error, "removing failed");
                }
            }
            Status::Created | Status::Exited => self.start_with_daemon(container),
        }
    }

    fn register(&self, record: Record) -> Result<Arc<Container>> {
        let container = Arc::new(Container::new(record, &self.inner.config));
        let name = container.read(|record| record.name.clone());
        self.with_registry(|registry| {
            registry.reserve_name(&name, &container.id)?;
            registry.insert(container.clone());
            Ok(container)
        })
    }

    /// Takes a running container over; false if its shim is gone.
    async fn adopt(&self, container: &Arc<Container>) -> bool {
        let connected = match ShimClient::connect(&container.bundle).await {
            Ok((client, end)) => {
                // The answer comes through the reader, which the watcher drives.
                let answers = tokio::spawn(end.wait());
                match client.status().await {
                    Ok(pid) => Some((client, answers, pid)),
                    Err(_) => None,
                }
            }
            Err(_) => None,
        };
        let Some((client, end, pid)) = connected else { return false };
        container.set_shim(Some(client));
        let changed = container.update(false, |record| {
            if !record.is_running() || record.state.pid != pid {
                record.state.started_at = timestamp::now_nanos();
            }
            record.state.status = Status::Running;
            record.state.pid = pid;
            if record.state.health.is_none() && HealthCheck::of(&record.config).is_some() {
                record.state.health = Some(Health::starting(None));
            }
        });
        if let Err(error) = changed {
            tracing::error!(container.id = %container.id, %error, "recording the adoption failed");
        }
        for name in container.record().mounts.iter().filter_map(|mount| mount.name.as_deref()) {
            if let Err(error) = self.inner.volumes.mount(name, container.id.as_str()) {
                tracing::error!(container.id = %container.id, %error, "adopting a volume failed");
            }
        }
        tracing::info!(container.id = %container.id, pid, "adopted");
        self.monitor_health(container, pid);
        let (engine, container) = (self.clone(), container.clone());
        tokio::spawn(async move {
            let told = end.await.ok().flatten();
            engine.ended(container, pid, told).await;
        });
        true
    }

    fn start_with_daemon(&self, container: Arc<Container>) {
        let wanted = container.read(|record| {
            let policy = record.host.restart_policy.as_ref();
            record.state.status == Status::Exited
                && restart_policy::starts_with_daemon(policy, record.manually_stopped)
        });
        if !wanted {
            return;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            let _operation = container.operation.lock().await;
            if let Err(error) = engine.start_locked(&container).await {
                tracing::warn!(container.id = %container.id, %error, "starting failed");
            }
        });
    }
}

fn ended(record: &Record, exit: &ExitRecord, container: &Container) -> Ended {
    let ran = exit.finished_at_nanos.saturating_sub(record.state.started_at);
    Ended {
        exit_code: exit.exit_code,
        manually_stopped: record.manually_stopped,
        restarts: record.restart_count,
        ran_for: Duration::from_nanos(ran),
        last_pause: container.last_pause(),
    }
}

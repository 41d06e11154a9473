//! One task as one container: created, started, watched, stopped and removed through the engine.
//!
//! Mirrors moby's `daemon/cluster/executor/container/controller.go`.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bollard_stubs::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum,
};
use futures::StreamExt as _;
use swarm_engine::registry::RegistryClient;
use swarm_engine::{Engine, ErrorClass, LogOptions, LogSource, Verdict, WaitCondition};
use swarm_proto::timestamp::{from_system_time, to_system_time};
use swarm_proto::v1::{
    ContainerStatus, LogAttr, LogMessage, LogStream, LogSubscriptionOptions, PortConfig,
    PortStatus, Task,
};
use tokio::sync::Mutex;
use tracing::{debug, info};

use super::expand::{Machine, expand};
use super::pull::pull;
use super::spec::{container_name, container_spec, create_body, published_ports};
use crate::controller::{Controller, ControllerError, LogSink};

/// Drives the container of one task.
pub(crate) struct ContainerController {
    engine: Engine,
    registries: RegistryClient,
    task: Arc<Task>,
    name: String,
    /// Why the task's templates can't be expanded, if so.
    unfit: Option<String>,
    /// Held by what changes the container, which goes on when its caller is cut short: what is asked for next waits
    /// for it, in the order of asking.
    at_work: Arc<Mutex<()>>,
}

impl ContainerController {
    pub(crate) fn new(
        engine: Engine,
        registries: RegistryClient,
        mut task: Task,
        machine: &Machine,
    ) -> Self {
        let unfit = expand(&mut task, machine).err();
        let name = container_name(&task);
        Self { engine, registries, name, task: Arc::new(task), unfit, at_work: Arc::default() }
    }

    async fn inspect(&self) -> Option<ContainerInspectResponse> {
        self.engine.inspect(&self.name).ok()
    }

    async fn state(&self) -> Option<ContainerState> {
        self.inspect().await?.state
    }
}

async fn create(
    engine: Engine,
    task_id: String,
    name: String,
    mut body: ContainerCreateBody,
) -> Result<(), ControllerError> {
    if body.stop_timeout.is_none() {
        // Without a grace period of its own a task has Docker's 10 s.
        body.stop_timeout = Some(10);
    }
    match engine.create(Some(name.clone()), body).await {
        Ok(created) => {
            debug!(task.id = task_id, container.id = created.id, "container created");
            Ok(())
        }
        // The daemon was restarted, or the work cut short, after the creation.
        Err(error) if error.class() == ErrorClass::Conflict && engine.inspect(&name).is_ok() => {
            Ok(())
        }
        Err(error) => Err(fatal(&error)),
    }
}

async fn start(engine: Engine, name: String) -> Result<(), ControllerError> {
    match engine.start(&name).await {
        Ok(()) => Ok(()),
        Err(error) if error.class() == ErrorClass::NotModified => Ok(()),
        Err(error) => Err(ControllerError::Fatal(format!("starting container failed: {error}"))),
    }
}

#[async_trait]
impl Controller for ContainerController {
    async fn prepare(&self) -> Result<(), ControllerError> {
        if let Some(reason) = &self.unfit {
            return Err(ControllerError::Fatal(reason.clone()));
        }
        let body = create_body(&self.task).map_err(ControllerError::Fatal)?;
        self.fetch(body.image.as_deref().unwrap_or_default()).await?;
        let (engine, task_id) = (self.engine.clone(), self.task.id.clone());
        self.whole(create(engine, task_id, self.name.clone(), body)).await
    }

    async fn start(&self) -> Result<(), ControllerError> {
        self.whole(start(self.engine.clone(), self.name.clone())).await?;
        match self.engine.wait_healthy(&self.name).await.map_err(|error| fatal(&error))? {
            Verdict::Fit => Ok(()),
            Verdict::Unhealthy => self.give_up().await,
            Verdict::Ended => self.end().await,
        }
    }

    async fn wait(&self) -> Result<(), ControllerError> {
        match self.engine.wait_unhealthy(&self.name).await.map_err(|error| fatal(&error))? {
            Verdict::Unhealthy => self.give_up().await,
            Verdict::Fit | Verdict::Ended => self.end().await,
        }
    }

    async fn shutdown(&self) -> Result<(), ControllerError> {
        let (engine, name) = (self.engine.clone(), self.name.clone());
        self.whole(async move {
            match engine.stop(&name, None).await {
                Ok(()) => Ok(()),
                Err(error) if gone_or_stopped(&error) => Ok(()),
                Err(error) => Err(ControllerError::Temporary(error.to_string())),
            }
        })
        .await
    }

    async fn remove(&self) -> Result<(), ControllerError> {
        let (engine, name) = (self.engine.clone(), self.name.clone());
        self.whole(async move {
            match engine.remove(&name, true, true).await {
                Ok(()) => Ok(()),
                Err(error) if gone_or_stopped(&error) => Ok(()),
                Err(error) => Err(ControllerError::Temporary(error.to_string())),
            }
        })
        .await
    }

    async fn container_status(&self) -> Option<ContainerStatus> {
        let container = self.inspect().await?;
        let state = container.state.unwrap_or_default();
        Some(ContainerStatus {
            container_id: container.id.unwrap_or_default(),
            pid: i32::try_from(state.pid.unwrap_or_default()).unwrap_or_default(),
            exit_code: i32::try_from(state.exit_code.unwrap_or_default()).unwrap_or(-1),
        })
    }

    async fn port_status(&self) -> Option<PortStatus> {
        let settings = self.inspect().await?.network_settings?;
        let ports: Vec<PortConfig> = published_ports(&settings.ports.unwrap_or_default());
        (!ports.is_empty()).then_some(PortStatus { ports })
    }

    async fn logs(
        &self,
        options: LogSubscriptionOptions,
        sink: LogSink,
    ) -> Result<(), ControllerError> {
        self.wait_until_started(options.follow).await;
        let attributes = self.engine.log_attributes(&self.name).unwrap_or_default();
        let attrs: Vec<LogAttr> =
            attributes.into_iter().map(|(key, value)| LogAttr { key, value }).collect();
        let lines = self.engine.logs(&self.name, log_options(&options));
        let mut lines = std::pin::pin!(lines.map_err(|error| fatal(&error))?);
        while let Some(entry) = lines.next().await {
            let entry = entry.map_err(|error| fatal(&error))?;
            let stream = match entry.source {
                LogSource::Stdout => LogStream::Stdout,
                LogSource::Stderr => LogStream::Stderr,
            };
            let message = LogMessage {
                timestamp: Some(from_system_time(
                    UNIX_EPOCH + Duration::from_nanos(entry.time_nanos),
                )),
                stream: stream.into(),
                data: entry.line.to_vec(),
                attrs: attrs.clone(),
                ..LogMessage::default()
            };
            if sink.send(message).await.is_err() {
                info!(container.name = self.name, "the reader of the logs left");
                break;
            }
        }
        Ok(())
    }
}

impl ContainerController {
    /// Runs work that must not be left half done when its caller is cut short, after what was begun before it.
    async fn whole(
        &self,
        work: impl Future<Output = Result<(), ControllerError>> + Send + 'static,
    ) -> Result<(), ControllerError> {
        let turn = self.at_work.clone().lock_owned().await;
        let work = async move {
            let result = work.await;
            drop(turn);
            result
        };
        match tokio::spawn(work).await {
            Ok(result) => result,
            Err(_) => Err(ControllerError::Temporary("the engine was interrupted".to_owned())),
        }
    }

    /// Fetches the image where the node does not have it; ends with its caller, whom nothing waits for then.
    async fn fetch(&self, reference: &str) -> Result<(), ControllerError> {
        if self.engine.images().resolve(reference).is_ok() {
            return Ok(());
        }
        let options = container_spec(&self.task).and_then(|spec| spec.pull_options.as_ref());
        let auth = options.map_or("", |options| &options.registry_auth);
        pull(&self.registries, reference, auth).await
    }

    /// How the container ended, once it has.
    async fn end(&self) -> Result<(), ControllerError> {
        let waited = self.engine.wait(&self.name, WaitCondition::NotRunning).await;
        let waited = waited.map_err(|error| fatal(&error))?;
        let state = self.state().await.unwrap_or_default();
        let reason = match state.oom_killed {
            Some(true) => "OOM killed".to_owned(),
            _ => state.error.unwrap_or_default(),
        };
        match i32::try_from(waited.status_code).unwrap_or(-1) {
            0 => Ok(()),
            code => Err(ControllerError::Exited { code, reason }),
        }
    }

    /// Stops a container whose health check failed. The task has failed, however well the container takes it.
    async fn give_up(&self) -> Result<(), ControllerError> {
        const REASON: &str = "dockerexec: unhealthy container";
        info!(task.id = self.task.id, container.name = self.name, "the container is unhealthy");
        self.shutdown().await?;
        Err(match self.end().await {
            Ok(()) => ControllerError::Fatal(REASON.to_owned()),
            Err(ControllerError::Exited { code, .. }) => {
                ControllerError::Exited { code, reason: REASON.to_owned() }
            }
            Err(other) => other,
        })
    }

    /// A subscription that follows may come before the container, whose log ends at once while it has not started.
    async fn wait_until_started(&self, follow: bool) {
        const LOOK: std::time::Duration = std::time::Duration::from_millis(100);
        while follow && !self.has_started().await {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn has_started(&self) -> bool {
        let status = self.state().await.and_then(|state| state.status);
        status.is_some_and(|status| status != ContainerStateStatusEnum::CREATED)
    }
}

/// SwarmKit's tail counts backwards from -1, which is an empty tail; 0 is all lines.
fn log_options(options: &LogSubscriptionOptions) -> LogOptions {
    let wants = |stream: LogStream| {
        options.streams.is_empty() || options.streams.contains(&i32::from(stream))
    };
    LogOptions {
        stdout: wants(LogStream::Stdout),
        stderr: wants(LogStream::Stderr),
        follow: options.follow,
        tail: match options.tail {
            0 => None,
            tail => Some(usize::try_from(-1 - tail).unwrap_or_default()),
        },
        since_nanos: options.since.as_ref().map(nanos),
        ..LogOptions::default()
    }
}

fn nanos(instant: &prost_types::Timestamp) -> u64 {
    let since = to_system_time(instant).duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn gone_or_stopped(error: &swarm_engine::Error) -> bool {
    matches!(error.class(), ErrorClass::NotFound | ErrorClass::NotModified)
}

fn fatal(error: &swarm_engine::Error) -> ControllerError {
    ControllerError::Fatal(error.to_string())
}

#[cfg(test)]
mod tests;

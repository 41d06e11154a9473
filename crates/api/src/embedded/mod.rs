//! [`EngineBackend`] for the embedded engine: names of calls and of options, nothing more.
//!
//! `describe` is `/info`, `networks` the node's predefined networks, `progress` turns work into a progress stream.

mod describe;
mod networks;
mod progress;

use std::pin::Pin;
use std::task::Poll;

use async_trait::async_trait;
use bollard_stubs::models::{
    AuthConfig, ContainerCreateBody, ContainerCreateResponse, ContainerInspectResponse,
    ContainerPruneResponse, ContainerSummary, ContainerWaitResponse, DistributionInspect,
    EventMessage, ImageDeleteResponseItem, ImageHistoryResponseItem, ImageInspect,
    ImagePruneResponse, ImageSummary, NetworkInspect, SystemInfo, Volume, VolumeCreateRequest,
    VolumePruneResponse,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use swarm_engine::image::{self, ImportOptions, Platform, Reference, RemoveOptions};
use swarm_engine::registry::{
    PullRequest, RegistryAuth, RegistryClient, RegistryConfig, parse_auth,
};
use swarm_engine::volume::CreateVolume;
use swarm_engine::{Engine, ErrorClass, ListOptions, LogEntry, LogOptions, WaitCondition};

use crate::engine_backend::{
    BodyReader, EngineBackend, EngineResult, ImportImage, ListContainers, ListImages, LogLine,
    LogSource, LogStream, ProgressStream, ReadLogs, WaitUntil,
};
use crate::error::{ApiError, Class};
use crate::http::filters::Filters;

/// The embedded engine behind the API's border.
#[derive(Clone)]
pub struct EmbeddedEngine {
    engine: Engine,
    registry: RegistryClient,
    registry_config: RegistryConfig,
    labels: Vec<String>,
    id: String,
}

impl EmbeddedEngine {
    /// The border to an engine with the daemon's labels; the engine gets an ID at its first start.
    pub fn new(engine: Engine, registry_config: RegistryConfig, labels: Vec<String>) -> Self {
        let registry = RegistryClient::new(engine.images().clone(), registry_config.clone());
        let id = describe::engine_id(&engine.config().data_root);
        Self { engine, registry, registry_config, labels, id }
    }
}

impl From<swarm_engine::Error> for ApiError {
    fn from(error: swarm_engine::Error) -> Self {
        let class = match error.class() {
            ErrorClass::NotFound => Class::NotFound,
            ErrorClass::Conflict => Class::Conflict,
            ErrorClass::InvalidParameter => Class::InvalidParameter,
            ErrorClass::Unauthorized => Class::Unauthorized,
            ErrorClass::Forbidden => Class::Forbidden,
            ErrorClass::Unavailable => Class::Unavailable,
            ErrorClass::NotModified => Class::NotModified,
            ErrorClass::NotImplemented => Class::NotImplemented,
            ErrorClass::System => Class::System,
        };
        Self::new(class, error.to_string())
    }
}

/// A header that cannot be read counts as none, as in moby: anonymous access may still do.
fn credentials(header: &str) -> RegistryAuth {
    parse_auth(header).unwrap_or_else(|error| {
        tracing::warn!(%error, "credentials were ignored");
        RegistryAuth::Anonymous
    })
}

fn platform(text: Option<String>) -> EngineResult<Option<Platform>> {
    Ok(text.as_deref().map(Platform::parse).transpose()?)
}

fn refuse_signal(signal: Option<String>) -> EngineResult<()> {
    match signal {
        None => Ok(()),
        Some(signal) => Err(ApiError::not_implemented(format!(
            "stopping with another signal ({signal}) than the container's own is not supported by this daemon"
        ))),
    }
}

fn log_line(entry: LogEntry, attributes: Vec<(String, String)>) -> LogLine {
    let source = match entry.source {
        swarm_engine::LogSource::Stdout => LogSource::Stdout,
        swarm_engine::LogSource::Stderr => LogSource::Stderr,
    };
    LogLine { source, time_nanos: entry.time_nanos, data: entry.line, attributes }
}

#[async_trait]
impl EngineBackend for EmbeddedEngine {
    async fn info(&self) -> EngineResult<SystemInfo> {
        let info = describe::info(&self.engine, &self.registry_config)?;
        Ok(SystemInfo { id: Some(self.id.clone()), labels: Some(self.labels.clone()), ..info })
    }

    fn events(&self, since: Option<u64>, until: Option<u64>) -> BoxStream<'static, EventMessage> {
        self.engine.events().subscribe(since, until).boxed()
    }

    async fn authenticate(&self, auth: AuthConfig) -> EngineResult<String> {
        let registry = auth.serveraddress.unwrap_or_default();
        Err(ApiError::not_implemented(format!(
            "checking credentials for {registry:?} is not supported by this daemon; put them into the client's \
             config.json, from where they are sent with every pull"
        )))
    }

    async fn distribution(&self, name: &str, auth: &str) -> EngineResult<DistributionInspect> {
        let reference = Reference::parse(name)?;
        Ok(self.registry.distribution_inspect(&reference, &credentials(auth)).await?)
    }

    async fn create_container(
        &self,
        name: Option<String>,
        body: ContainerCreateBody,
    ) -> EngineResult<ContainerCreateResponse> {
        Ok(self.engine.create(name, body).await?)
    }

    async fn start_container(&self, id: &str) -> EngineResult<()> {
        Ok(self.engine.start(id).await?)
    }

    async fn stop_container(
        &self,
        id: &str,
        signal: Option<String>,
        timeout: Option<i64>,
    ) -> EngineResult<()> {
        refuse_signal(signal)?;
        Ok(self.engine.stop(id, timeout).await?)
    }

    async fn restart_container(
        &self,
        id: &str,
        signal: Option<String>,
        timeout: Option<i64>,
    ) -> EngineResult<()> {
        refuse_signal(signal)?;
        Ok(self.engine.restart(id, timeout).await?)
    }

    async fn kill_container(&self, id: &str, signal: Option<String>) -> EngineResult<()> {
        Ok(self.engine.kill(id, signal.as_deref()).await?)
    }

    /// The engine begins to watch when its future is first polled: that must be before the client is told to go on.
    async fn wait_container(
        &self,
        id: &str,
        until: WaitUntil,
    ) -> EngineResult<BoxFuture<'static, EngineResult<ContainerWaitResponse>>> {
        let condition = match until {
            WaitUntil::NotRunning => WaitCondition::NotRunning,
            WaitUntil::NextExit => WaitCondition::NextExit,
            WaitUntil::Removed => WaitCondition::Removed,
        };
        let id = self.engine.resolve(id)?;
        let engine = self.engine.clone();
        let mut exit: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { Ok(engine.wait(id.as_str(), condition).await?) });
        match futures::poll!(&mut exit) {
            Poll::Ready(exit) => Ok(std::future::ready(exit).boxed()),
            Poll::Pending => Ok(exit),
        }
    }

    async fn remove_container(&self, id: &str, force: bool, volumes: bool) -> EngineResult<()> {
        Ok(self.engine.remove(id, force, volumes).await?)
    }

    async fn rename_container(&self, id: &str, name: &str) -> EngineResult<()> {
        Ok(self.engine.rename(id, name).await?)
    }

    async fn inspect_container(
        &self,
        id: &str,
        _size: bool,
    ) -> EngineResult<ContainerInspectResponse> {
        Ok(self.engine.inspect(id)?)
    }

    async fn list_containers(
        &self,
        options: ListContainers,
    ) -> EngineResult<Vec<ContainerSummary>> {
        let ListContainers { all, limit, size, filters } = options;
        Ok(self.engine.list(&ListOptions { all, limit, size, filters: filters.to_map() })?)
    }

    async fn container_logs(&self, id: &str, options: ReadLogs) -> EngineResult<LogStream> {
        let options = LogOptions {
            stdout: options.stdout,
            stderr: options.stderr,
            follow: options.follow,
            await_run: options.await_run,
            tail: options.tail,
            since_nanos: options.since,
            until_nanos: options.until,
        };
        let entries = self.engine.logs(id, options)?;
        let attributes = self.engine.log_attributes(id)?;
        Ok(entries.map(move |entry| Ok(log_line(entry?, attributes.clone()))).boxed())
    }

    async fn prune_containers(&self, filters: Filters) -> EngineResult<ContainerPruneResponse> {
        let options = ListOptions { filters: filters.to_map(), ..Default::default() };
        let report = self.engine.prune(&options).await?;
        Ok(ContainerPruneResponse {
            containers_deleted: Some(report.deleted).filter(|deleted| !deleted.is_empty()),
            space_reclaimed: i64::try_from(report.space_reclaimed_bytes).ok(),
        })
    }

    async fn list_images(&self, options: ListImages) -> EngineResult<Vec<ImageSummary>> {
        let options = image::ListOptions { all: options.all, filters: options.filters.to_map() };
        Ok(self.engine.images().list(&options)?)
    }

    async fn inspect_image(&self, name: &str) -> EngineResult<ImageInspect> {
        Ok(self.engine.images().inspect(name)?)
    }

    async fn image_history(&self, name: &str) -> EngineResult<Vec<ImageHistoryResponseItem>> {
        Ok(self.engine.images().history(name)?)
    }

    async fn tag_image(&self, name: &str, reference: &str) -> EngineResult<()> {
        self.engine.images().tag(name, &Reference::parse(reference)?.or_latest())?;
        Ok(())
    }

    async fn remove_image(
        &self,
        name: &str,
        force: bool,
        prune: bool,
    ) -> EngineResult<Vec<ImageDeleteResponseItem>> {
        let options = RemoveOptions { force, no_prune: !prune };
        Ok(self.engine.images().remove(name, options, &|image| self.engine.image_users(image))?)
    }

    async fn prune_images(&self, filters: Filters) -> EngineResult<ImagePruneResponse> {
        Ok(self
            .engine
            .images()
            .prune(&filters.to_map(), &|image| self.engine.image_users(image))?)
    }

    async fn load_images(&self, archive: BodyReader) -> EngineResult<ProgressStream> {
        let images = self.engine.images().clone();
        progress::run(|progress| async move { images.load(archive, progress).await.map(|_| None) })
            .await
    }

    async fn import_image(
        &self,
        archive: BodyReader,
        options: ImportImage,
    ) -> EngineResult<ProgressStream> {
        let name = match options.reference.as_str() {
            "" => None,
            reference => Some(Reference::parse(reference)?.or_latest()),
        };
        let options = ImportOptions {
            name,
            changes: options.changes,
            message: Some(options.message).filter(|message| !message.is_empty()),
            platform: platform(options.platform)?,
        };
        let images = self.engine.images().clone();
        progress::run(|_| async move {
            let image = images.import(archive, options).await?;
            Ok(Some(image::Message::status(image.id.as_str())))
        })
        .await
    }

    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<String>,
        auth: &str,
    ) -> EngineResult<ProgressStream> {
        let request = PullRequest {
            reference: Reference::parse(reference)?,
            platform: self::platform(platform)?,
            auth: credentials(auth),
        };
        let registry = self.registry.clone();
        progress::run(
            |progress| async move { registry.pull(request, &progress).await.map(|_| None) },
        )
        .await
    }

    async fn list_networks(&self) -> EngineResult<Vec<NetworkInspect>> {
        Ok(networks::list(&self.engine, &self.id))
    }

    async fn create_volume(&self, request: VolumeCreateRequest) -> EngineResult<Volume> {
        let request = CreateVolume {
            name: request.name.unwrap_or_default(),
            driver: request.driver.unwrap_or_default(),
            options: request.driver_opts.unwrap_or_default(),
            labels: request.labels.unwrap_or_default(),
        };
        Ok(self.engine.volumes().create(request)?)
    }

    async fn inspect_volume(&self, name: &str) -> EngineResult<Volume> {
        Ok(self.engine.volumes().inspect(name)?)
    }

    async fn list_volumes(&self, filters: Filters) -> EngineResult<Vec<Volume>> {
        Ok(self.engine.volumes().list(&filters.to_map(), &|name| self.engine.volume_users(name))?)
    }

    async fn remove_volume(&self, name: &str, force: bool) -> EngineResult<()> {
        Ok(self.engine.volumes().remove(name, force, &|name| self.engine.volume_users(name))?)
    }

    async fn prune_volumes(&self, filters: Filters) -> EngineResult<VolumePruneResponse> {
        Ok(self
            .engine
            .volumes()
            .prune(&filters.to_map(), &|name| self.engine.volume_users(name))?)
    }
}

//! The border to this node's container engine.
//!
//! Requests and answers are the Engine API's own models; the handlers add only HTTP. Implemented for the embedded
//! engine, and by fakes in tests.

use std::pin::Pin;

use async_trait::async_trait;
use bollard_stubs::models::{
    AuthConfig, ContainerCreateBody, ContainerCreateResponse, ContainerInspectResponse,
    ContainerPruneResponse, ContainerSummary, ContainerWaitResponse, DistributionInspect,
    EventMessage, ImageDeleteResponseItem, ImageHistoryResponseItem, ImageInspect,
    ImagePruneResponse, ImageSummary, NetworkInspect, SystemInfo, Volume, VolumeCreateRequest,
    VolumePruneResponse,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::io::AsyncRead;

use crate::error::ApiError;
use crate::http::filters::Filters;

/// A refusal of the engine, or its answer.
pub type EngineResult<T> = Result<T, ApiError>;
/// A request's body, read as it arrives.
pub type BodyReader = Pin<Box<dyn AsyncRead + Send>>;
/// Progress messages, each one JSON object of Docker's progress stream; errors are messages too.
pub type ProgressStream = BoxStream<'static, serde_json::Value>;
/// Lines of a container's output.
pub type LogStream = BoxStream<'static, EngineResult<LogLine>>;

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ListContainers {
    /// Include those that do not run.
    pub all: bool,
    /// At most this many, the newest.
    pub limit: Option<usize>,
    /// Include sizes.
    pub size: bool,
    /// Docker's filters.
    pub filters: Filters,
}

/// Which images to list.
#[derive(Debug, Clone, Default)]
pub struct ListImages {
    /// Include intermediate images.
    pub all: bool,
    /// Include the digests' repositories.
    pub digests: bool,
    /// Docker's filters.
    pub filters: Filters,
}

/// When [`EngineBackend::wait_container`] answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitUntil {
    /// Once it does not run: at once if it does not.
    #[default]
    NotRunning,
    /// At its next exit.
    NextExit,
    /// Once it is removed.
    Removed,
}

/// Which lines of a container's output to read.
#[derive(Debug, Clone, Default)]
pub struct ReadLogs {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Wait for more.
    pub follow: bool,
    /// With `follow`: wait for a container that has not started, and miss nothing of its run.
    pub await_run: bool,
    /// Only the last lines; all if absent.
    pub tail: Option<usize>,
    /// Only from this time, in nanoseconds since 1970.
    pub since: Option<u64>,
    /// Only before this time, in nanoseconds since 1970.
    pub until: Option<u64>,
}

/// Where a line of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it came from.
    pub source: LogSource,
    /// When it was written, in nanoseconds since 1970.
    pub time_nanos: u64,
    /// The line with its newline, as written.
    pub data: Bytes,
    /// What `--details` shows.
    pub attributes: Vec<(String, String)>,
}

/// What `docker import` sets besides the file system.
#[derive(Debug, Clone, Default)]
pub struct ImportImage {
    /// Repository and tag of the new image; untagged if empty.
    pub reference: String,
    /// The commit message.
    pub message: String,
    /// Dockerfile instructions to apply.
    pub changes: Vec<String>,
    /// The platform to record, `os/arch`.
    pub platform: Option<String>,
}

/// One node's engine.
#[async_trait]
pub trait EngineBackend: Send + Sync {
    /// What the engine says about itself and its machine; the Swarm section is added by the API.
    async fn info(&self) -> EngineResult<SystemInfo>;
    /// Events from `since` (new ones only if absent) to `until` (endless if absent), in nanoseconds since 1970.
    fn events(&self, since: Option<u64>, until: Option<u64>) -> BoxStream<'static, EventMessage>;
    /// Checks credentials with a registry; the answer is its status.
    async fn authenticate(&self, auth: AuthConfig) -> EngineResult<String>;
    /// What a registry knows of an image; `auth` is the header `X-Registry-Auth` as sent.
    async fn distribution(&self, name: &str, auth: &str) -> EngineResult<DistributionInspect>;

    /// Creates a container; the image must be present.
    async fn create_container(
        &self,
        name: Option<String>,
        body: ContainerCreateBody,
    ) -> EngineResult<ContainerCreateResponse>;
    /// Starts a container.
    async fn start_container(&self, id: &str) -> EngineResult<()>;
    /// Stops a container; `timeout` in seconds, negative to wait for ever.
    async fn stop_container(
        &self,
        id: &str,
        signal: Option<String>,
        timeout: Option<i64>,
    ) -> EngineResult<()>;
    /// Stops and starts a container.
    async fn restart_container(
        &self,
        id: &str,
        signal: Option<String>,
        timeout: Option<i64>,
    ) -> EngineResult<()>;
    /// Signals a container.
    async fn kill_container(&self, id: &str, signal: Option<String>) -> EngineResult<()>;
    /// Finds the container now and answers a future of its exit.
    async fn wait_container(
        &self,
        id: &str,
        until: WaitUntil,
    ) -> EngineResult<BoxFuture<'static, EngineResult<ContainerWaitResponse>>>;
    /// Removes a container.
    async fn remove_container(&self, id: &str, force: bool, volumes: bool) -> EngineResult<()>;
    /// Renames a container.
    async fn rename_container(&self, id: &str, name: &str) -> EngineResult<()>;
    /// All there is to know of a container.
    async fn inspect_container(
        &self,
        id: &str,
        size: bool,
    ) -> EngineResult<ContainerInspectResponse>;
    /// Containers in short, the newest first.
    async fn list_containers(&self, options: ListContainers)
    -> EngineResult<Vec<ContainerSummary>>;
    /// A container's output.
    async fn container_logs(&self, id: &str, options: ReadLogs) -> EngineResult<LogStream>;
    /// Removes what does not run.
    async fn prune_containers(&self, filters: Filters) -> EngineResult<ContainerPruneResponse>;

    /// Images in short.
    async fn list_images(&self, options: ListImages) -> EngineResult<Vec<ImageSummary>>;
    /// All there is to know of an image.
    async fn inspect_image(&self, name: &str) -> EngineResult<ImageInspect>;
    /// How an image came about.
    async fn image_history(&self, name: &str) -> EngineResult<Vec<ImageHistoryResponseItem>>;
    /// Gives an image another name.
    async fn tag_image(&self, name: &str, reference: &str) -> EngineResult<()>;
    /// Removes an image, or a name of it.
    async fn remove_image(
        &self,
        name: &str,
        force: bool,
        prune: bool,
    ) -> EngineResult<Vec<ImageDeleteResponseItem>>;
    /// Removes images that nothing uses.
    async fn prune_images(&self, filters: Filters) -> EngineResult<ImagePruneResponse>;
    /// Loads images from an archive.
    async fn load_images(&self, archive: BodyReader) -> EngineResult<ProgressStream>;
    /// Makes an image of a file system's archive.
    async fn import_image(
        &self,
        archive: BodyReader,
        options: ImportImage,
    ) -> EngineResult<ProgressStream>;
    /// Pulls an image from its registry; `auth` is the header `X-Registry-Auth` as sent.
    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<String>,
        auth: &str,
    ) -> EngineResult<ProgressStream>;

    /// The networks of this node: bridge, host and none.
    async fn list_networks(&self) -> EngineResult<Vec<NetworkInspect>>;

    /// Creates a volume, or finds the one of that name.
    async fn create_volume(&self, request: VolumeCreateRequest) -> EngineResult<Volume>;
    /// A volume.
    async fn inspect_volume(&self, name: &str) -> EngineResult<Volume>;
    /// The volumes.
    async fn list_volumes(&self, filters: Filters) -> EngineResult<Vec<Volume>>;
    /// Removes a volume.
    async fn remove_volume(&self, name: &str, force: bool) -> EngineResult<()>;
    /// Removes volumes that nothing uses.
    async fn prune_volumes(&self, filters: Filters) -> EngineResult<VolumePruneResponse>;
}

//! An engine with one container, one image, one volume and the predefined networks.

use std::sync::Mutex;

use async_trait::async_trait;
use bollard_stubs::models::{
    AuthConfig, ContainerConfig, ContainerCreateBody, ContainerCreateResponse,
    ContainerInspectResponse, ContainerPruneResponse, ContainerSummary, ContainerWaitResponse,
    DistributionInspect, EventActor, EventMessage, EventMessageScopeEnum, EventMessageTypeEnum,
    ImageDeleteResponseItem, ImageHistoryResponseItem, ImageInspect, ImagePruneResponse,
    ImageSummary, NetworkInspect, OciDescriptor, SystemInfo, Volume, VolumeCreateRequest,
    VolumePruneResponse,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::engine_backend::{
    BodyReader, EngineBackend, EngineResult, ImportImage, ListContainers, ListImages, LogLine,
    LogSource, LogStream, ProgressStream, ReadLogs, WaitUntil,
};
use crate::error::{ApiError, Class};
use crate::http::filters::Filters;

#[derive(Default)]
pub(crate) struct FakeEngine {
    pub(crate) calls: Mutex<Vec<String>>,
}

impl FakeEngine {
    fn called(&self, call: String) {
        self.calls.lock().expect("lock").push(call);
    }

    pub(crate) fn last_call(&self) -> String {
        self.calls.lock().expect("lock").last().cloned().unwrap_or_default()
    }

    fn container(id: &str) -> EngineResult<()> {
        match id {
            "c1" | "web" => Ok(()),
            _ => Err(ApiError::not_found(format!("No such container: {id}"))),
        }
    }

    fn image(name: &str) -> EngineResult<()> {
        match name {
            "alpine" | "alpine:latest" | "library/alpine" => Ok(()),
            _ => Err(ApiError::not_found(format!("No such image: {name}"))),
        }
    }

    fn volume() -> Volume {
        Volume { name: "data".to_owned(), driver: "local".to_owned(), ..Default::default() }
    }
}

#[async_trait]
impl EngineBackend for FakeEngine {
    async fn info(&self) -> EngineResult<SystemInfo> {
        Ok(SystemInfo {
            id: Some("engine1".to_owned()),
            containers: Some(1),
            architecture: Some("x86_64".to_owned()),
            kernel_version: Some("6.1".to_owned()),
            ncpu: Some(2),
            mem_total: Some(1 << 30),
            os_type: Some("linux".to_owned()),
            name: Some("host1".to_owned()),
            ..Default::default()
        })
    }

    fn events(&self, _: Option<u64>, _: Option<u64>) -> BoxStream<'static, EventMessage> {
        let event = |action: &str| EventMessage {
            typ: Some(EventMessageTypeEnum::CONTAINER),
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some("c1".to_owned()),
                attributes: Some([("name".to_owned(), "web".to_owned())].into()),
            }),
            scope: Some(EventMessageScopeEnum::LOCAL),
            time: Some(1),
            time_nano: Some(1_000_000_000),
        };
        stream::iter([event("create"), event("start")]).boxed()
    }

    async fn authenticate(&self, _: AuthConfig) -> EngineResult<String> {
        Ok("Login Succeeded".to_owned())
    }

    async fn distribution(&self, name: &str, _: &str) -> EngineResult<DistributionInspect> {
        match name {
            "slow" => std::future::pending().await,
            "alpine" => {
                let digest = Some(format!("sha256:{}", "ab".repeat(32)));
                let descriptor = OciDescriptor { digest, ..Default::default() };
                Ok(DistributionInspect { descriptor, platforms: Vec::new() })
            }
            _ => Err(ApiError::unavailable("connection refused")),
        }
    }

    async fn create_container(
        &self,
        name: Option<String>,
        body: ContainerCreateBody,
    ) -> EngineResult<ContainerCreateResponse> {
        Self::image(body.image.as_deref().unwrap_or_default())?;
        self.called(format!("create {name:?} {:?}", body.cmd));
        Ok(ContainerCreateResponse { id: "c1".to_owned(), warnings: Vec::new() })
    }

    async fn start_container(&self, id: &str) -> EngineResult<()> {
        Self::container(id)?;
        Err(ApiError::new(Class::NotModified, "already started"))
    }

    async fn stop_container(
        &self,
        id: &str,
        signal: Option<String>,
        timeout: Option<i64>,
    ) -> EngineResult<()> {
        self.called(format!("stop {signal:?} {timeout:?}"));
        Self::container(id)
    }

    async fn restart_container(
        &self,
        id: &str,
        _: Option<String>,
        _: Option<i64>,
    ) -> EngineResult<()> {
        Self::container(id)
    }

    async fn kill_container(&self, id: &str, signal: Option<String>) -> EngineResult<()> {
        self.called(format!("kill {signal:?}"));
        Self::container(id)
    }

    async fn wait_container(
        &self,
        id: &str,
        _: WaitUntil,
    ) -> EngineResult<BoxFuture<'static, EngineResult<ContainerWaitResponse>>> {
        Self::container(id)?;
        let exit = ContainerWaitResponse { status_code: 3, error: None };
        Ok(std::future::ready(Ok(exit)).boxed())
    }

    async fn remove_container(&self, id: &str, force: bool, volumes: bool) -> EngineResult<()> {
        self.called(format!("remove force={force} volumes={volumes}"));
        Self::container(id)
    }

    async fn rename_container(&self, id: &str, _: &str) -> EngineResult<()> {
        Self::container(id)
    }

    async fn inspect_container(&self, id: &str, _: bool) -> EngineResult<ContainerInspectResponse> {
        Self::container(id)?;
        let config = ContainerConfig { tty: Some(id == "web"), ..Default::default() };
        Ok(ContainerInspectResponse {
            id: Some("c1".to_owned()),
            config: Some(config),
            ..Default::default()
        })
    }

    async fn list_containers(
        &self,
        options: ListContainers,
    ) -> EngineResult<Vec<ContainerSummary>> {
        self.called(format!("list all={} limit={:?}", options.all, options.limit));
        let summary = ContainerSummary {
            id: Some("c1".to_owned()),
            names: Some(vec!["/web".to_owned()]),
            ..Default::default()
        };
        Ok(vec![summary])
    }

    async fn container_logs(&self, id: &str, _: ReadLogs) -> EngineResult<LogStream> {
        Self::container(id)?;
        let line = LogLine {
            source: LogSource::Stdout,
            time_nanos: 1,
            data: Bytes::from_static(b"hello\n"),
            attributes: Vec::new(),
        };
        Ok(stream::iter([Ok(line)]).boxed())
    }

    async fn prune_containers(&self, _: Filters) -> EngineResult<ContainerPruneResponse> {
        Ok(ContainerPruneResponse { space_reclaimed: Some(0), ..Default::default() })
    }

    async fn list_images(&self, _: ListImages) -> EngineResult<Vec<ImageSummary>> {
        Ok(vec![ImageSummary { id: "sha256:aa".to_owned(), size: 7, ..Default::default() }])
    }

    async fn inspect_image(&self, name: &str) -> EngineResult<ImageInspect> {
        Self::image(name)?;
        Ok(ImageInspect { id: Some("sha256:aa".to_owned()), ..Default::default() })
    }

    async fn image_history(&self, name: &str) -> EngineResult<Vec<ImageHistoryResponseItem>> {
        Self::image(name).map(|()| Vec::new())
    }

    async fn tag_image(&self, name: &str, reference: &str) -> EngineResult<()> {
        self.called(format!("tag {name} {reference}"));
        Self::image(name)
    }

    async fn remove_image(
        &self,
        name: &str,
        force: bool,
        _: bool,
    ) -> EngineResult<Vec<ImageDeleteResponseItem>> {
        self.called(format!("rmi {name} force={force}"));
        Self::image(name)?;
        Ok(vec![ImageDeleteResponseItem { untagged: Some(name.to_owned()), deleted: None }])
    }

    async fn prune_images(&self, _: Filters) -> EngineResult<ImagePruneResponse> {
        Ok(ImagePruneResponse::default())
    }

    async fn load_images(&self, mut archive: BodyReader) -> EngineResult<ProgressStream> {
        let mut text = String::new();
        archive
            .read_to_string(&mut text)
            .await
            .map_err(|error| ApiError::invalid(error.to_string()))?;
        let messages = [
            json!({ "status": "Loading layer", "progressDetail": {}, "id": "aa" }),
            json!({ "stream": format!("Loaded image: {text}\n") }),
        ];
        Ok(stream::iter(messages).boxed())
    }

    async fn import_image(
        &self,
        _: BodyReader,
        options: ImportImage,
    ) -> EngineResult<ProgressStream> {
        self.called(format!("import {} {:?}", options.reference, options.changes));
        Ok(stream::iter([json!({ "status": "sha256:aa" })]).boxed())
    }

    async fn pull_image(
        &self,
        reference: &str,
        _: Option<String>,
        auth: &str,
    ) -> EngineResult<ProgressStream> {
        self.called(format!("pull {reference} {auth:?}"));
        Ok(stream::iter([json!({ "status": "Pulled" })]).boxed())
    }

    async fn list_networks(&self) -> EngineResult<Vec<NetworkInspect>> {
        let network = |name: &str| NetworkInspect {
            name: Some(name.to_owned()),
            id: Some(format!("{name}-id-0123456789")),
            driver: Some(if name == "none" { "null" } else { name }.to_owned()),
            scope: Some("local".to_owned()),
            ..Default::default()
        };
        Ok(["bridge", "host", "none"].map(network).to_vec())
    }

    async fn create_volume(&self, _: VolumeCreateRequest) -> EngineResult<Volume> {
        Ok(Self::volume())
    }

    async fn inspect_volume(&self, name: &str) -> EngineResult<Volume> {
        match name {
            "data" => Ok(Self::volume()),
            _ => Err(ApiError::not_found(format!("get {name}: no such volume"))),
        }
    }

    async fn list_volumes(&self, _: Filters) -> EngineResult<Vec<Volume>> {
        Ok(vec![Self::volume()])
    }

    async fn remove_volume(&self, _: &str, _: bool) -> EngineResult<()> {
        Ok(())
    }

    async fn prune_volumes(&self, _: Filters) -> EngineResult<VolumePruneResponse> {
        Ok(VolumePruneResponse::default())
    }
}

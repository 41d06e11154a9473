//! The engine's door: opening it, and what its verbs share.
//!
//! The verbs on containers are in `container`, each in its own file; images, volumes and events are handed out as they
//! are, since they have doors of their own.

use std::path::Path;
use std::sync::{Arc, Mutex};

use swarm_network::Bridge;

use crate::cgroup::CgroupLayout;
use crate::config::EngineConfig;
use crate::container::Registry;
use crate::error::{Result, io as io_error};
use crate::events::EventBus;
use crate::image::{Digest, ImageStore, ImageUser};
use crate::seccomp;
use crate::spec::capabilities;
use crate::volume::VolumeStore;

/// The container engine; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    pub(crate) images: ImageStore,
    pub(crate) volumes: VolumeStore,
    pub(crate) events: EventBus,
    pub(crate) bridge: Option<Bridge>,
    pub(crate) cgroups: CgroupLayout,
    pub(crate) containers: Mutex<Registry>,
}

impl Engine {
    /// Opens the engine on its roots, adopts the containers that still run, and starts those whose restart policy
    /// wants it. Without a bridge, containers can only be on the networks host and none.
    pub async fn open(config: EngineConfig, bridge: Option<Bridge>) -> Result<Self> {
        for (folder, mode) in [
            // Records and bundles hold what containers get in their environment.
            (config.data_root.join("containers"), 0o700),
            (config.exec_root.join("containers"), 0o700),
            (config.data_root.join("overlay"), 0o711),
            (config.exec_root.join("netns"), 0o711),
        ] {
            make_folder(&folder, mode)?;
        }
        let events = EventBus::default();
        let images = ImageStore::open(&config.data_root.join("image"))?;
        let cgroups = CgroupLayout::detect().map_err(io_error("reading cgroup mounts"))?;
        let containers = Mutex::default();
        let volumes = VolumeStore::open(&config.data_root.join("volumes"))?;
        let inner = Inner { config, images, volumes, events, bridge, cgroups, containers };
        let engine = Self { inner: Arc::new(inner) };
        engine.adopt_all().await?;
        // The first start need not wait for what every start needs.
        tokio::task::spawn_blocking(|| {
            let usual = capabilities::effective(false, &[], &[]);
            if let Err(error) = usual.and_then(seccomp::warm_up) {
                tracing::error!(%error, "compiling the default seccomp profile failed");
            }
        });
        Ok(engine)
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// The images.
    pub fn images(&self) -> &ImageStore {
        &self.inner.images
    }

    /// The volumes.
    pub fn volumes(&self) -> &VolumeStore {
        &self.inner.volumes
    }

    /// The containers made from an image, for whoever removes one.
    pub fn image_users(&self, image: &Digest) -> Vec<ImageUser> {
        let containers = self.containers();
        let mut users = Vec::new();
        for container in containers {
            container.read(|record| {
                if record.image_id == image.as_str() {
                    let container = record.id.to_string();
                    users.push(ImageUser { container, running: record.is_running() });
                }
            });
        }
        users
    }

    /// The events of containers, images and volumes.
    pub fn events(&self) -> &EventBus {
        &self.inner.events
    }

    /// The default bridge, if there is one.
    pub fn bridge(&self) -> Option<&Bridge> {
        self.inner.bridge.as_ref()
    }

    /// `1` or `2`, as in `docker info`.
    pub fn cgroup_version(&self) -> &'static str {
        self.inner.cgroups.version()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// Makes a folder with its parents; an existing one keeps its mode.
fn make_folder(folder: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = folder.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o711).create(parent).map_err(io_error(parent.display()))?;
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(mode).create(folder).map_err(io_error(folder.display()))
}

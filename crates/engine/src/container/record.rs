//! What the engine remembers of a container, on disk as `containers/<id>/config.json`.
//!
//! The file is written at creation and whenever something changes that a successor could not find out; PIDs are
//! confirmed by the shim at adoption.

use std::collections::HashMap;
use std::path::Path;

use bollard_stubs::models::{ContainerConfig, EndpointSettings, HostConfig, MountPoint};
use serde::{Deserialize, Serialize};
use swarm_network::Attachment;

use super::ContainerId;
use super::health::Health;
use crate::error::{Error, Result, io as io_error};
use crate::shim::write_atomic;

/// Version of the file's format.
pub(crate) const VERSION: u32 = 1;
/// Name of the file.
pub(crate) const FILE: &str = "config.json";

/// A container as it is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    /// RFC 3339.
    pub(crate) created: String,
    /// The image as the user named it.
    pub(crate) image: String,
    /// The image's ID.
    pub(crate) image_id: String,
    /// The configuration with the image's defaults merged in.
    pub(crate) config: ContainerConfig,
    pub(crate) host: HostConfig,
    /// Endpoint settings by network, as asked for.
    pub(crate) networks: HashMap<String, EndpointSettings>,
    pub(crate) mounts: Vec<MountPoint>,
    pub(crate) state: State,
    pub(crate) restart_count: i64,
    /// The user stopped it, so that `unless-stopped` leaves it alone.
    pub(crate) manually_stopped: bool,
    /// What the default bridge gave it.
    pub(crate) attachment: Option<Attachment>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Created,
    Running,
    Restarting,
    Exited,
    Removing,
}

impl Status {
    /// Docker's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }
}

/// A container's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) status: Status,
    pub(crate) pid: i32,
    pub(crate) exit_code: i32,
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    /// Nanoseconds since the epoch; 0 is never.
    pub(crate) started_at: u64,
    pub(crate) finished_at: u64,
    /// What the health check found; none without one.
    #[serde(default)]
    pub(crate) health: Option<Health>,
}

impl State {
    /// The state of a container that never ran.
    pub(crate) fn created() -> Self {
        Self {
            status: Status::Created,
            pid: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: 0,
            finished_at: 0,
            health: None,
        }
    }
}

impl Record {
    /// Reads a container's record.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read(&path).map_err(io_error(path.display()))?;
        let record: Self = serde_json::from_slice(&text)
            .map_err(|e| Error::system(format!("{}: {e}", path.display())).with_source(e))?;
        if record.version > VERSION {
            let message = format!("{}: written by a newer version", path.display());
            return Err(Error::system(message));
        }
        Ok(record)
    }

    /// Writes it; `durable` waits for the disk.
    pub(crate) fn save(&self, folder: &Path, durable: bool) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec(self)
            .map_err(|e| Error::system(format!("{}: {e}", path.display())).with_source(e))?;
        write_atomic(&path, &text, durable).map_err(io_error(path.display()))
    }

    /// The program and its arguments: entrypoint, then command.
    pub(crate) fn args(&self) -> Vec<String> {
        let entrypoint = self.config.entrypoint.iter().flatten();
        entrypoint.chain(self.config.cmd.iter().flatten()).cloned().collect()
    }

    /// Whether the container has a process.
    pub(crate) fn is_running(&self) -> bool {
        self.state.status == Status::Running
    }
}

//! What the engine is told at its start; the daemon's flags end here.

use std::collections::HashMap;
use std::path::PathBuf;

/// The engine's settings.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Durable state: images, containers, volumes.
    pub data_root: PathBuf,
    /// State of this boot: bundles, sockets.
    pub exec_root: PathBuf,
    /// The executable whose `shim` applet runs containers, normally the daemon's own.
    pub shim_exe: PathBuf,
    /// Arguments that lead to the applet.
    pub shim_args: Vec<String>,
    /// The cgroup under which every container gets its own, such as `/swarm`.
    pub cgroup_parent: PathBuf,
    /// Name of the runtime that containers use unless told otherwise; `None` is the built-in one.
    pub default_runtime: Option<String>,
    /// External OCI runtimes by name.
    pub runtimes: HashMap<String, PathBuf>,
    /// Log driver and options of containers that name none.
    pub log_defaults: LogDefaults,
    /// Name servers for containers, instead of the host's.
    pub dns: Vec<String>,
}

/// How containers log unless told otherwise.
#[derive(Debug, Clone, Default)]
pub struct LogDefaults {
    /// Driver name; empty is `json-file`.
    pub driver: String,
    /// Its options.
    pub options: HashMap<String, String>,
}

impl EngineConfig {
    /// The defaults for these roots and this executable.
    pub fn new(data_root: PathBuf, exec_root: PathBuf, shim_exe: PathBuf) -> Self {
        Self {
            data_root,
            exec_root,
            shim_exe,
            shim_args: vec!["shim".to_owned()],
            cgroup_parent: PathBuf::from("/swarm"),
            default_runtime: None,
            runtimes: HashMap::new(),
            log_defaults: LogDefaults::default(),
            dns: Vec::new(),
        }
    }

    /// Folder of one container's durable state.
    pub(crate) fn container_dir(&self, id: &str) -> PathBuf {
        self.data_root.join("containers").join(id)
    }

    /// Folder of one container's bundle.
    pub(crate) fn bundle_dir(&self, id: &str) -> PathBuf {
        self.exec_root.join("containers").join(id)
    }

    /// Path of one container's network namespace.
    pub(crate) fn netns_path(&self, id: &str) -> PathBuf {
        self.exec_root.join("netns").join(id)
    }

    /// cgroup of one container.
    pub(crate) fn cgroup(&self, id: &str) -> PathBuf {
        self.cgroup_parent.join(id)
    }
}

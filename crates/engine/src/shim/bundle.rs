//! What daemon and shim leave for each other in files: the launch configuration, the launch reply, the exit record.
//!
//! These outlive versions of the executable, so each carries a version and unknown fields are ignored.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the shim must know beyond the OCI bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShimConfig {
    /// Format version; 1 today.
    pub version: u32,
    /// The container's full ID.
    pub id: String,
    /// External OCI runtime to use instead of libcontainer.
    pub runtime: Option<PathBuf>,
    /// The json-file log; `None` discards the output.
    pub log_path: Option<PathBuf>,
    /// Rotate the log when it reaches this size; 0 never rotates.
    pub log_size_bytes_max: u64,
    /// How many log files to keep, the live one included.
    pub log_files_max: u32,
    /// Where the exit record goes.
    pub exit_path: PathBuf,
    /// The counter file that tells OOM kills of the container's cgroup.
    pub oom_path: Option<PathBuf>,
    /// cgroups (directories) that the shim itself moves to once the container runs.
    pub shim_cgroups: Vec<PathBuf>,
    /// The container's cgroup (a directory) where cgroup v2 has no devices controller and a program must decide.
    #[serde(default)]
    pub device_cgroup: Option<PathBuf>,
    /// Capabilities that the container keeps, as bits.
    pub capabilities: u64,
    /// Whether to run our tiny init as PID 1.
    pub init: bool,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Whether to bring the loopback interface up.
    pub loopback: bool,
}

/// The shim's one line of answer to its daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaunchReply {
    /// PID of the container's init, when it runs.
    pub pid: Option<i32>,
    /// Why it does not run, in Docker's words.
    pub error: Option<String>,
    /// The exit code that Docker gives such a failure (126, 127, 128).
    pub exit_code: i32,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Format version; 1 today.
    pub version: u32,
    /// PID that ended, which tells one run from the next.
    pub pid: i32,
    /// Exit code, 128 plus the signal for a killed process.
    pub exit_code: i32,
    /// When, in nanoseconds since the epoch.
    pub finished_at_nanos: u64,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
}

/// Writes a file so that a reader sees the old content or the new, also after a power cut.
pub(crate) fn write_atomic(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if durable && let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

//! The PID file: one daemon per file, and none left behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The file while the daemon runs; removed on drop.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes this process's number, unless a process that still runs wrote its own.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        if let Ok(text) = fs::read_to_string(path)
            && let Ok(pid) = text.trim().parse::<u32>()
            && pid != std::process::id()
            && is_daemon(pid)
        {
            bail!(
                "process with PID {pid} is still running (PID file {}): stop it, or choose another file with --pidfile",
                path.display()
            );
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        fs::write(path, std::process::id().to_string())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path: path.to_owned() })
    }
}

/// Numbers are used again: only a process of this very executable counts.
fn is_daemon(pid: u32) -> bool {
    let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == own)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

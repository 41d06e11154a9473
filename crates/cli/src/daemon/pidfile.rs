//! The PID file: one daemon per file, and none left behind.
//!
//! A daemon holds a lock on its file, which ends with the process however it ends: a number alone might be another
//! process's by now.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The file while the daemon runs; removed on drop.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    _lock: Flock<fs::File>,
}

impl PidFile {
    /// Writes this process's number, unless the daemon that wrote the file still runs.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = opened.with_context(|| format!("opening {}", path.display()))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => {
                let pid = fs::read_to_string(path).unwrap_or_default();
                bail!(
                    "process with PID {} is still running (PID file {}): stop it, or choose another file with --pidfile",
                    pid.trim(),
                    path.display()
                );
            }
            Err((_, error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        };
        lock.set_len(0)?;
        lock.write_all(std::process::id().to_string().as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_second_daemon_and_takes_over_what_a_dead_one_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run").join("pid");
        let first = PidFile::create(&path).expect("free");
        let refused = PidFile::create(&path).expect_err("held").to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "1").expect("what a killed daemon leaves");
        let next = PidFile::create(&path).expect("nobody holds it");
        assert_eq!(fs::read_to_string(&path).expect("written"), std::process::id().to_string());
        drop(next);
    }
}

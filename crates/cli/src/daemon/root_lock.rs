//! One daemon per root folder: two would take each other's containers for their own.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The file in the folder that is locked; it stays, since removing it would let two lock different files.
const FILE: &str = "daemon.lock";

/// Holds a root folder until the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct RootLock {
    _lock: Flock<fs::File>,
}

impl RootLock {
    /// Takes a folder that `flag` has chosen.
    pub(crate) fn take(folder: &Path, flag: &str) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.with_context(|| format!("opening {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => bail!(
                "another daemon uses {}: stop it, or choose another folder with {flag}",
                folder.display()
            ),
            Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_daemon() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = RootLock::take(folder.path(), "--data-root").expect("free");
        let refused = RootLock::take(folder.path(), "--data-root").expect_err("held").to_string();
        assert!(refused.starts_with("another daemon uses "), "{refused}");
        assert!(refused.ends_with("with --data-root"), "{refused}");
        drop(first);
        RootLock::take(folder.path(), "--data-root").expect("free again");
    }
}

//! The folder of one demonstration, and what an earlier one that was killed left behind.
//!
//! A demonstration locks its folder for as long as it lives; the kernel unlocks what the dead held. A folder that
//! nobody locks is therefore a leftover, and its name is that of its cgroups too.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::cgroups;

const PREFIX: &str = "swarm-demo-";
const LOCK: &str = "lock";
/// Killed processes hold mounts and cgroups a moment longer than they are seen.
const REMOVAL_ATTEMPTS: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

/// The folder, locked. Dropping it removes it with the cgroups.
#[derive(Debug)]
pub(super) struct Site {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Site {
    /// Makes a fresh folder.
    pub(super) fn make() -> anyhow::Result<Self> {
        let template = std::env::temp_dir().join(format!("{PREFIX}XXXXXX"));
        let folder = nix::unistd::mkdtemp(&template)
            .with_context(|| format!("making a folder in {}", std::env::temp_dir().display()))?;
        let mut file = File::create(folder.join(LOCK))?;
        write!(file, "{}", std::process::id())?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| error)
            .context("locking the folder")?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The cgroup above all of its containers.
    pub(super) fn cgroup(&self) -> PathBuf {
        cgroup(&self.folder)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            crate::output::error(&error);
        }
    }
}

/// Removes what demonstrations left that were killed; refuses while one runs.
pub(super) fn remove_leftovers() -> anyhow::Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name();
        let Ok(metadata) = entry.metadata() else { continue };
        if name.to_string_lossy().starts_with(PREFIX) && metadata.is_dir() && metadata.uid() == own
        {
            remove_leftover(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_leftover(folder: &Path) -> anyhow::Result<()> {
    if let Ok(file) = File::open(folder.join(LOCK)) {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(_lock) => {}
            Err((_, Errno::EWOULDBLOCK)) => {
                let process = fs::read_to_string(folder.join(LOCK)).unwrap_or_default();
                bail!("a demonstration is running already (process {process}): end it with Ctrl-C");
            }
            Err((_, error)) => return Err(error).context("looking for an earlier demonstration"),
        }
    }
    remove(folder)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let gone = cgroups::remove(&cgroup(folder));
        let removed = fs::remove_dir_all(folder);
        let finished = gone && (removed.is_ok() || !folder.exists());
        if finished {
            return Ok(());
        }
        if attempt == REMOVAL_ATTEMPTS {
            removed.with_context(|| format!("removing {}", folder.display()))?;
            bail!("the cgroup {} is still in use", cgroup(folder).display());
        }
        std::thread::sleep(REMOVAL_PAUSE);
    }
}

fn cgroup(folder: &Path) -> PathBuf {
    Path::new("/").join(folder.file_name().unwrap_or_default())
}

//! Writes that survive a power cut or never happened: temporary file, fsync, rename, fsync of the folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::unistd::syncfs;

/// Puts `bytes` at `dest`, whole or not at all; `scratch` is a folder on the same file system.
pub(crate) fn write(scratch: &Path, dest: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = scratch_path(scratch);
    let outcome = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, dest));
    if outcome.is_err() {
        let _ = fs::remove_file(&temporary);
        return outcome;
    }
    sync_folder(dest.parent().unwrap_or(dest))
}

/// Moves a finished folder to `dest`; everything in it is on disk first. Says whether `dest` was free: a folder that
/// is there already stays, as both hold the same content.
pub(crate) fn publish_folder(from: &Path, dest: &Path) -> io::Result<bool> {
    syncfs(File::open(from)?)?;
    match nix::fcntl::renameat2(
        AT_FDCWD,
        from,
        AT_FDCWD,
        dest,
        nix::fcntl::RenameFlags::RENAME_NOREPLACE,
    ) {
        Ok(()) => {}
        Err(nix::Error::EEXIST | nix::Error::ENOTEMPTY) => {
            fs::remove_dir_all(from)?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    sync_folder(dest.parent().unwrap_or(dest))?;
    Ok(true)
}

/// Removes a folder so that a crash half-way leaves only scratch.
pub(crate) fn remove_folder(scratch: &Path, folder: &Path) -> io::Result<()> {
    let doomed = scratch_path(scratch);
    match fs::rename(folder, &doomed) {
        Ok(()) => fs::remove_dir_all(doomed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A fresh name in the scratch folder.
pub(crate) fn scratch_path(scratch: &Path) -> PathBuf {
    scratch.join(hex::encode(rand::random::<[u8; 16]>()))
}

/// A folder in scratch that is removed with the value, unless it was moved away.
pub(crate) struct ScratchFolder(PathBuf);

impl ScratchFolder {
    pub(crate) fn new(scratch: &Path) -> io::Result<Self> {
        let path = scratch_path(scratch);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "scratch folder stays until the next start");
        }
    }
}

/// Whether a failure is this machine's (a full disk, no permission) rather than that of the data being stored.
pub(crate) fn is_machines_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    matches!(
        error.kind(),
        StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied | FileTooLarge
    )
}

/// Creates an empty scratch folder, removing what a crash left in an older one.
pub(crate) fn fresh_scratch(scratch: &Path) -> io::Result<()> {
    match fs::remove_dir_all(scratch) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(scratch)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

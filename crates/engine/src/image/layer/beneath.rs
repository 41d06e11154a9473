//! File system access that cannot leave one folder.
//!
//! Every path is resolved by the kernel (`openat2`, RESOLVE_BENEATH): `..` above the root, absolute symlinks and magic
//! links fail there, so no check here can be raced or forgotten. Relative symlinks inside of the root are followed for
//! parents, as an archive of a merged-/usr system needs.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// A folder that nothing below escapes from.
pub(super) struct Root {
    fd: OwnedFd,
}

/// An open folder and the name of an entry in it.
pub(super) struct Place {
    folder: OwnedFd,
    name: OsString,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            fd: open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?,
        })
    }

    /// Opens a folder below the root.
    pub(super) fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(&self.fd, path, how)?)
    }

    /// Opens the folder that holds `path`, a path from [`clean`].
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        Ok(Place { folder: self.folder(path.parent().unwrap_or(Path::new("")))?, name })
    }

    /// Creates the missing folders of `path`, as root's with mode 0755 whatever the umask is.
    pub(super) fn create_folders(&self, path: &Path) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(0o755);
        let mut below = PathBuf::new();
        for part in path {
            below.push(part);
            let place = self.place(&below)?;
            match mkdirat(&place.folder, part, mode) {
                Ok(()) => fchmodat(&place.folder, part, mode, FchmodatFlags::FollowSymlink)?,
                Err(nix::Error::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Place {
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The same folder, another entry.
    pub(super) fn sibling(self, name: &OsStr) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// A path to the entry for calls without an `at` form; its last part must not be followed.
    pub(super) fn through_proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd())).join(&self.name)
    }

    /// The entry's own status, if it exists.
    pub(super) fn status(&self) -> io::Result<Option<FileStat>> {
        match fstatat(&self.folder, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(status)),
            Err(nix::Error::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the entry, whatever it is.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self.status()? {
            None => Ok(()),
            Some(status) if is_folder(&status) => std::fs::remove_dir_all(self.through_proc()),
            Some(_) => {
                Ok(unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
            }
        }
    }
}

/// Whether the status is a folder's.
pub(super) fn is_folder(status: &FileStat) -> bool {
    file_type(status) == SFlag::S_IFDIR
}

/// Whether the status is that of overlayfs' whiteout.
pub(super) fn is_whiteout(status: &FileStat) -> bool {
    file_type(status) == SFlag::S_IFCHR && status.st_rdev == 0
}

fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

/// An archive's path without `.` parts. Absolute ones and those with `..` are refused: none has business in a layer.
pub(super) fn clean(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    if path == Path::new("/") {
        return Ok(clean);
    }
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("invalid path {path:?} in archive: it is outside of the root"),
                ));
            }
        }
    }
    Ok(clean)
}

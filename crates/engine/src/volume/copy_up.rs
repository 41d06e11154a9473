//! Copy-up: a new, empty volume gets what the image has at the place where it is mounted.
//!
//! The place is looked up with the container's root as root (`openat2`, RESOLVE_IN_ROOT), so that a symlink in the
//! image cannot make files of the host appear in the volume.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;

use super::store::{VolumeStore, no_such_volume};
use crate::error::{Result, io as io_error};
use crate::image::layer::copy_xattrs;

impl VolumeStore {
    /// Fills an empty volume from folder `inside` of a root file system; nothing happens if the volume has content or
    /// the root has no such folder.
    pub fn copy_up(&self, name: &str, rootfs: &Path, inside: &Path) -> Result<()> {
        if !self.volumes().contains_key(name) {
            return Err(no_such_volume(name));
        }
        let data = self.data(name);
        copy_into_empty(rootfs, inside, &data).map_err(io_error(format!("fill volume {name}")))
    }
}

fn copy_into_empty(rootfs: &Path, inside: &Path, target: &Path) -> io::Result<()> {
    if fs::read_dir(target)?.next().is_some() {
        return Ok(());
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(rootfs, flags | OFlag::O_PATH, Mode::empty())?;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let source = match openat2(&root, inside, how) {
        Ok(source) => source,
        Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // The dot makes the kernel look behind the link that /proc/self/fd holds.
    let source_path = PathBuf::from(format!("/proc/self/fd/{}/.", source.as_raw_fd()));
    copy_folder(&source_path, target)
}

/// Copies a folder's content and attributes onto one that exists. Depth is bounded by the kernel's path length.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&to)?;
            copy_folder(&from, &to)?;
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            io::copy(&mut File::open(&from)?, &mut File::create_new(&to)?)?;
        } else if !kind.is_socket() {
            let status = entry.metadata()?;
            let kind = SFlag::from_bits_truncate(status.mode() & SFlag::S_IFMT.bits());
            mknod(&to, kind, Mode::from_bits_truncate(0o600), status.rdev())?;
        } else {
            continue;
        }
        copy_attributes(&from, &to)?;
    }
    copy_attributes(from, to)
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let status = fs::symlink_metadata(from)?;
    lchown(to, Some(status.uid()), Some(status.gid()))?;
    if !status.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(status.mode() & 0o7777))?;
    }
    copy_xattrs(from, to)?;
    let times = [
        TimeSpec::new(status.atime(), status.atime_nsec()),
        TimeSpec::new(status.mtime(), status.mtime_nsec()),
    ];
    Ok(utimensat(AT_FDCWD, to, &times[0], &times[1], UtimensatFlags::NoFollowSymlink)?)
}

//! Unpacking: one tar stream into one folder, with everything that a root file system needs kept.
//!
//! Owners, modes, times, extended attributes, hard links and devices come out as archived; deletions become
//! overlayfs' (see `whiteout`), and nothing lands outside of the folder (see `beneath`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{linkat, symlinkat};
use tar::{Archive, Entry, EntryType};

use super::attributes::{Attributes, set_times};
use super::beneath::{Place, Root, clean, is_folder, is_whiteout};
use super::whiteout::{self, Marker};

/// What came out of an archive.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Bytes of all regular files, hard links counted once.
    pub(crate) size_bytes: u64,
}

/// Unpacks `source`, an uncompressed tar stream, into `folder`.
pub(crate) fn unpack(source: impl Read, folder: &Path) -> io::Result<Unpacked> {
    let mut unpacker =
        Unpacker { root: Root::open(folder)?, folders: Vec::new(), done: Unpacked::default() };
    let mut archive = Archive::new(source);
    for entry in archive.entries()? {
        let mut entry = entry?;
        unpacker.entry(&mut entry).map_err(|error| {
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            io::Error::new(error.kind(), format!("{path}: {error}"))
        })?;
    }
    unpacker.finish()
}

struct Unpacker {
    root: Root,
    /// Folders with the times that they get at the end, when nothing changes them any more.
    folders: Vec<(PathBuf, TimeSpec)>,
    done: Unpacked,
}

impl Unpacker {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let path = clean(&entry.path()?)?;
        let attributes = Attributes::read(entry)?;
        if path.as_os_str().is_empty() {
            return self.root_folder(kind, &attributes);
        }
        self.parents(&path)?;
        let place = self.root.place(&path)?;
        let name = place.name().to_owned();
        match whiteout::marker(&name) {
            Marker::Ignored => return Ok(()),
            Marker::Opaque => return whiteout::make_opaque(&self.root_place(path.parent())?),
            Marker::Deleted(name) => return whiteout::delete(&place.sibling(name)),
            Marker::None => {}
        }
        let was_deleted = clear(&place, kind)?;
        self.create(entry, kind, &place)?;
        if kind == EntryType::Link {
            return Ok(());
        }
        attributes.apply(&place, kind)?;
        if kind.is_dir() {
            if was_deleted {
                whiteout::make_opaque(&place)?;
            }
            self.folders.push((path, attributes.modified));
        }
        Ok(())
    }

    fn create<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        kind: EntryType,
        place: &Place,
    ) -> io::Result<()> {
        let name = place.name();
        let private = Mode::from_bits_truncate(0o600);
        match kind {
            EntryType::Directory => {
                if place.status()?.is_none() {
                    mkdirat(place.folder(), name, Mode::from_bits_truncate(0o700))?;
                }
            }
            EntryType::Symlink => {
                let target = link_target(entry)?;
                refuse_climbing(&clean(&entry.path()?)?, &target)?;
                symlinkat(target.as_path(), place.folder(), name)?;
            }
            EntryType::Link => self.hard_link(&link_target(entry)?, place)?,
            EntryType::Char => {
                mknodat(place.folder(), name, SFlag::S_IFCHR, private, device(entry)?)?
            }
            EntryType::Block => {
                mknodat(place.folder(), name, SFlag::S_IFBLK, private, device(entry)?)?
            }
            EntryType::Fifo => mknodat(place.folder(), name, SFlag::S_IFIFO, private, 0)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlag::O_WRONLY
                    | OFlag::O_CREAT
                    | OFlag::O_EXCL
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_CLOEXEC;
                let mut file = File::from(openat(place.folder(), name, flags, private)?);
                self.done.size_bytes += io::copy(entry, &mut file)?;
            }
            other => {
                let message = format!("unhandled tar entry type {:?}", char::from(other.as_byte()));
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }

    /// Links to an entry of the same archive. An absolute target is meant from the root, as in Docker.
    fn hard_link(&self, target: &Path, place: &Place) -> io::Result<()> {
        let target = clean(target.strip_prefix("/").unwrap_or(target))?;
        let target = self.root.place(&target)?;
        Ok(linkat(target.folder(), target.name(), place.folder(), place.name(), AtFlags::empty())?)
    }

    fn parents(&mut self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.root.folder(parent) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.root.create_folders(parent)
            }
            Err(error) => Err(error),
        }
    }

    fn root_folder(&mut self, kind: EntryType, attributes: &Attributes) -> io::Result<()> {
        if !kind.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the archive's root is not a folder",
            ));
        }
        self.folders.push((PathBuf::new(), attributes.modified));
        attributes.apply(&self.root_place(None)?, kind)
    }

    /// The place of a folder that exists already; the root's own is `.` in itself.
    fn root_place(&self, folder: Option<&Path>) -> io::Result<Place> {
        let folder = folder.unwrap_or(Path::new(""));
        if folder.as_os_str().is_empty() {
            return Ok(self.root.place(Path::new("x"))?.sibling(OsStr::new(".")));
        }
        self.root.place(folder)
    }

    /// Sets the folders' times, innermost last entered first, as each creation inside changed them.
    fn finish(self) -> io::Result<Unpacked> {
        for (path, modified) in self.folders.iter().rev() {
            match self.root_place(Some(path)).and_then(|place| set_times(&place, *modified)) {
                Ok(()) => {}
                // A later entry of the archive replaced the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.done)
    }
}

/// Makes room for an entry: a folder may stay for a folder, all else goes. Says whether a deletion was recorded there.
fn clear(place: &Place, kind: EntryType) -> io::Result<bool> {
    let Some(status) = place.status()? else { return Ok(false) };
    if kind.is_dir() && is_folder(&status) {
        return Ok(false);
    }
    place.remove()?;
    Ok(is_whiteout(&status))
}

fn link_target<R: Read>(entry: &Entry<'_, R>) -> io::Result<PathBuf> {
    let Some(target) = entry.link_name_bytes().filter(|target| !target.is_empty()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "link without a target"));
    };
    Ok(PathBuf::from(OsStr::from_bytes(&target)))
}

/// Refuses a symlink whose target leaves the root, as Docker does; an absolute one stays in whatever root it is used in.
fn refuse_climbing(link: &Path, target: &Path) -> io::Result<()> {
    let mut depth = link.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::ParentDir if depth == 0 => {
                let message =
                    format!("invalid symlink -> {target:?}: it points outside of the root");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    Ok(())
}

fn device<R: Read>(entry: &Entry<'_, R>) -> io::Result<libc::dev_t> {
    let header = entry.header();
    let major = header.device_major()?.unwrap_or(0);
    let minor = header.device_minor()?.unwrap_or(0);
    Ok(makedev(major.into(), minor.into()))
}

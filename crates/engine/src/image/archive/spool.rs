//! The spool: an archive's files by name, with their contents in numbered files of our own.
//!
//! Names from the archive are only keys of a map, so none of them can reach the file system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use tar::{Archive, EntryType};

use crate::error::{Error, Result, io as io_error};
use crate::image::durable::{ScratchFolder, is_machines_fault};

/// Manifests and configs are read into memory; a real one has some kilobytes.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// An archive has a few entries per layer; more names than this are an attack on memory.
const ENTRIES_MAX: usize = 100_000;
/// How many links in a row are followed (the kernel's own limit).
const LINKS_MAX: usize = 40;

pub(super) struct Spool {
    folder: ScratchFolder,
    entries: BTreeMap<String, Content>,
}

enum Content {
    File(PathBuf),
    Link(String),
}

impl Spool {
    /// Reads a whole archive.
    pub(super) fn fill(scratch: &Path, archive: impl Read) -> Result<Self> {
        let folder = ScratchFolder::new(scratch).map_err(io_error("create temporary folder"))?;
        let mut spool = Self { folder, entries: BTreeMap::new() };
        let mut archive = Archive::new(archive);
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            let name = key(&entry.path().map_err(unreadable)?)?;
            let content = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => spool.store(&mut entry)?,
                EntryType::Symlink => Content::Link(link(&name, &entry, true)?),
                EntryType::Link => Content::Link(link(&name, &entry, false)?),
                _ => continue,
            };
            if spool.entries.len() >= ENTRIES_MAX {
                return Err(Error::invalid("invalid archive: too many entries"));
            }
            spool.entries.insert(name, content);
        }
        Ok(spool)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(super) fn open(&self, name: &str) -> Result<File> {
        let Some(path) = self.find(name) else {
            return Err(Error::invalid(format!("invalid archive: {name} is missing")));
        };
        File::open(path).map_err(io_error("open spooled file"))
    }

    /// A small file's content.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open(name)?;
        if file.metadata().map_err(io_error("read spooled file"))?.len() > JSON_BYTES_MAX {
            return Err(Error::invalid(format!("invalid archive: {name} is too big")));
        }
        file.take(JSON_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error("read spooled file"))?;
        Ok(bytes)
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.read(name)?).map_err(|e| {
            Error::invalid(format!("invalid archive: failed to decode {name}: {e}")).with_source(e)
        })
    }

    fn find(&self, name: &str) -> Option<&Path> {
        let mut name = key(Path::new(name)).ok()?;
        for _ in 0..LINKS_MAX {
            match self.entries.get(&name)? {
                Content::File(path) => return Some(path),
                Content::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    fn store(&self, entry: &mut impl Read) -> Result<Content> {
        let path = self.folder.path().join(self.entries.len().to_string());
        let mut file = File::create_new(&path).map_err(io_error("create spooled file"))?;
        io::copy(entry, &mut file).map_err(unreadable)?;
        Ok(Content::File(path))
    }
}

/// Words a failure to read the archive; a failure of this machine (a full disk) stays one.
pub(super) fn unreadable(error: io::Error) -> Error {
    if is_machines_fault(&error) {
        return io_error("load archive")(error);
    }
    Error::invalid(format!("invalid archive: {error}")).with_source(error)
}

fn link<R: Read>(name: &str, entry: &tar::Entry<'_, R>, relative: bool) -> Result<String> {
    let target = entry.link_name().map_err(unreadable)?.unwrap_or_default();
    let base = if relative { Path::new(name).parent() } else { None };
    key(&base.unwrap_or(Path::new("")).join(target))
}

/// A name without `.` and `..`; one that leaves the archive is refused.
fn key(path: &Path) -> Result<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        let outside = || {
            Error::invalid(format!(
                "invalid archive: path {} is outside of the archive",
                path.display()
            ))
        };
        match part {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop().ok_or_else(outside)?),
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    Ok(parts.join("/"))
}

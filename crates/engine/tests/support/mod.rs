//! What the image tests share: archives made by hand, a look at the store's files, a small disk.
#![allow(dead_code, reason = "every test binary uses its own part")]

pub(crate) mod archive;
pub(crate) mod fake_registry;
pub(crate) mod registry;

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use swarm_engine::Result;
use swarm_engine::image::{ImageStore, Progress};
use tempfile::TempDir;

/// The modification time of every entry of a test archive.
pub(crate) const MTIME: i64 = 1_000_000_000;

/// Loads an archive; returns what `docker load` would print.
pub(crate) fn load(store: &ImageStore, archive: &[u8]) -> Result<Vec<String>> {
    let (progress, mut lines) = Progress::channel();
    store.load_blocking(archive, &progress)?;
    drop(progress);
    Ok(std::iter::from_fn(|| lines.blocking_recv()).filter_map(|message| message.stream).collect())
}

/// Every path below a store's folder, except for the index file (a failure may write it unchanged).
pub(crate) fn store_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("read store") {
            let entry = entry.expect("entry");
            if entry.file_type().expect("type").is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.retain(|path| !path.ends_with("index.json"));
    found.sort();
    found
}

/// An extended attribute of the file itself, as the kernel has it.
#[expect(unsafe_code, reason = "lgetxattr has no safe wrapper among our dependencies")]
pub(crate) fn xattr(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let mut value = vec![0u8; 4096];
    // SAFETY: both strings end with NUL; the buffer is writable for the length given.
    let length = unsafe {
        libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

/// A tmpfs of limited size, gone with the value.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn new(options: &str) -> Self {
        let folder = TempDir::new().expect("temporary folder");
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(options))
            .expect("mount tmpfs");
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

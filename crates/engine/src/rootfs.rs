//! A container's root file system: an overlay of its image's layers, and safe access to files in it.
//!
//! Layers belong to the image store and are only read. Paths inside a container's root are resolved by the kernel with
//! the root as their limit (openat2), so no symbolic link of an image leads outside.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};

use crate::error::{Error, Result, io as io_error};

/// The kernel reads one page of mount options, the terminating zero included.
const OPTIONS_BYTES_MAX: usize = 4095;
/// Largest passwd or group file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The folders of one container's overlay.
#[derive(Debug, Clone)]
pub(crate) struct Overlay {
    folder: PathBuf,
    links: PathBuf,
}

impl Overlay {
    /// The overlay in `folder`; `links` may take short names for long lists of layers.
    pub(crate) fn new(folder: PathBuf, links: PathBuf) -> Self {
        Self { folder, links }
    }

    /// Where the root file system appears.
    pub(crate) fn merged(&self) -> PathBuf {
        self.folder.join("merged")
    }

    /// What the container wrote.
    pub(crate) fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Makes the folders.
    pub(crate) fn create(&self) -> Result<()> {
        for folder in [self.upper(), self.work(), self.merged()] {
            fs::create_dir_all(&folder).map_err(io_error(folder.display()))?;
        }
        Ok(())
    }

    /// Mounts the layers (top first) under the container's own; nothing if it is mounted.
    pub(crate) fn mount(&self, layers: &[PathBuf]) -> Result<PathBuf> {
        let merged = self.merged();
        if is_mount_point(&merged).map_err(io_error(merged.display()))? {
            return Ok(merged);
        }
        let mut options = self.options(layers);
        if options.len() > OPTIONS_BYTES_MAX {
            let short = self.short_names(layers)?;
            options = self.options(&short);
        }
        if options.len() > OPTIONS_BYTES_MAX {
            return Err(Error::system(format!("the image has too many layers: {}", layers.len())));
        }
        mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .map_err(|e| io_error(format_args!("mounting {}", merged.display()))(e.into()))?;
        Ok(merged)
    }

    /// Unmounts the root file system; nothing if it is not mounted.
    pub(crate) fn unmount(&self) -> Result<()> {
        match umount2(&self.merged(), MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
            Err(e) => Err(io_error(format_args!("unmounting {}", self.folder.display()))(e.into())),
        }
    }

    /// Removes everything.
    pub(crate) fn remove(&self) -> Result<()> {
        self.unmount()?;
        match fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(io_error(self.folder.display())(e))
            }
            _ => Ok(()),
        }
    }

    fn options(&self, layers: &[PathBuf]) -> String {
        // An image without layers still needs one lower folder.
        let own = [self.folder.clone()];
        let layers = if layers.is_empty() { &own[..] } else { layers };
        let lower: Vec<String> = layers.iter().map(|l| escape(l)).collect();
        let (upper, work) = (escape(&self.upper()), escape(&self.work()));
        format!("lowerdir={},upperdir={upper},workdir={work}", lower.join(":"))
    }

    fn short_names(&self, layers: &[PathBuf]) -> Result<Vec<PathBuf>> {
        use sha2::Digest;
        fs::create_dir_all(&self.links).map_err(io_error(self.links.display()))?;
        layers
            .iter()
            .map(|layer| {
                let digest = sha2::Sha256::digest(layer.as_os_str().as_encoded_bytes());
                let link = self.links.join(hex::encode(&digest[..6]));
                match std::os::unix::fs::symlink(layer, &link) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        Err(io_error(link.display())(e))
                    }
                    _ => Ok(link),
                }
            })
            .collect()
    }
}

/// Overlay separates by colon and comma, which a path may contain.
fn escape(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

fn is_mount_point(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let parent = path.parent().unwrap_or(path);
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

/// A container's root, in which paths are resolved as the container would.
pub(crate) struct Root {
    folder: OwnedFd,
}

impl Root {
    /// Opens the root.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { folder: File::open(path)?.into() })
    }

    /// Opens something in the root.
    pub(crate) fn open_in(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(self.folder.as_fd(), inside, how)?)
    }

    /// Reads a small text file; empty if there is none.
    pub(crate) fn read_text(&self, path: &Path) -> io::Result<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = match self.open_in(path, flags) {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        if file.metadata()?.is_file() {
            file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Makes a folder with its parents, where they are missing.
    pub(crate) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let parent = self.open_in(&made, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            made.push(name);
            if self.open_in(&made, OFlag::O_PATH).is_ok() {
                continue;
            }
            match mkdirat(parent.as_fd(), Path::new(name), Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

//! Mounts of a container: the kernel file systems that Docker always mounts, and what the user asked for.
//!
//! Where a volume lives and whether a bind's source exists is decided in `container::mounts`; this room only words the
//! OCI entries, sorted so that a parent is mounted before what lies inside it.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, MountBuilder};

use super::built;
use crate::error::Result;

/// A user's mount with its source known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedMount {
    pub(crate) destination: PathBuf,
    pub(crate) source: MountSource,
    pub(crate) read_only: bool,
    /// Whether a read-only mount makes those below it read-only too.
    pub(crate) read_only_below: bool,
    pub(crate) propagation: String,
    pub(crate) recursive: bool,
}

/// What a user's mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountSource {
    /// A file or folder of the host.
    Path(PathBuf),
    /// A fresh tmpfs with these options.
    Tmpfs(Vec<String>),
}

/// What decides how the default mounts look.
pub(super) struct DefaultMounts<'a> {
    pub(super) shm_size_bytes: i64,
    pub(super) privileged: bool,
    /// Folder with the container's `hosts`, `hostname` and `resolv.conf`.
    pub(super) files: &'a Path,
    pub(super) host_ipc: bool,
    pub(super) user: &'a [ResolvedMount],
}

/// All mounts in the order in which they are made.
pub(super) fn mounts(defaults: &DefaultMounts<'_>) -> Result<Vec<Mount>> {
    let mut all = kernel_mounts(defaults)?;
    all.retain(|m| !is_replaced(m.destination(), defaults.user));
    for name in ["resolv.conf", "hostname", "hosts"] {
        let destination = Path::new("/etc").join(name);
        if !is_replaced(&destination, defaults.user) {
            all.push(bind(&destination, &defaults.files.join(name), &["rbind", "rprivate"])?);
        }
    }
    let mut user: Vec<&ResolvedMount> = defaults.user.iter().collect();
    user.sort_by_key(|m| m.destination.components().count());
    for mount in user {
        all.push(user_mount(mount)?);
    }
    Ok(all)
}

fn is_replaced(destination: &Path, user: &[ResolvedMount]) -> bool {
    user.iter().any(|m| m.destination == destination)
}

fn kernel_mounts(defaults: &DefaultMounts<'_>) -> Result<Vec<Mount>> {
    let shm_size = format!("size={}", defaults.shm_size_bytes);
    let sys_mode = if defaults.privileged { "rw" } else { "ro" };
    let table: [(&str, &str, &str, Vec<&str>); 6] = [
        ("/proc", "proc", "proc", vec!["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", "tmpfs", vec!["nosuid", "strictatime", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        ("/sys", "sysfs", "sysfs", vec!["nosuid", "noexec", "nodev", sys_mode]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", vec![sys_mode, "nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", "mqueue", vec!["nosuid", "noexec", "nodev"]),
    ];
    let mut all = Vec::new();
    for (destination, kind, source, options) in table {
        if defaults.host_ipc && destination == "/dev/mqueue" {
            all.push(bind(Path::new(destination), Path::new(destination), &["rbind"])?);
            continue;
        }
        all.push(entry(Path::new(destination), kind, Path::new(source), &options)?);
    }
    if defaults.host_ipc {
        all.push(bind(Path::new("/dev/shm"), Path::new("/dev/shm"), &["rbind"])?);
    } else {
        let options = ["nosuid", "noexec", "nodev", "mode=1777", &shm_size];
        all.push(entry(Path::new("/dev/shm"), "tmpfs", Path::new("shm"), &options)?);
    }
    Ok(all)
}

fn user_mount(mount: &ResolvedMount) -> Result<Mount> {
    match &mount.source {
        MountSource::Path(source) => {
            let bind_kind = if mount.recursive { "rbind" } else { "bind" };
            let mode = if mount.read_only { "ro" } else { "rw" };
            let mut options = vec![bind_kind, mode, mount.propagation.as_str()];
            if mount.read_only && mount.read_only_below && mount.recursive {
                options.push("rro");
            }
            bind(&mount.destination, source, &options)
        }
        MountSource::Tmpfs(options) => {
            let mut all = vec!["noexec", "nosuid", "nodev", "rprivate"];
            for option in options {
                let positive = match option.as_str() {
                    "exec" => Some("noexec"),
                    "suid" => Some("nosuid"),
                    "dev" => Some("nodev"),
                    _ => None,
                };
                all.retain(|kept| Some(*kept) != positive);
                all.push(option);
            }
            if mount.read_only {
                all.push("ro");
            }
            entry(&mount.destination, "tmpfs", Path::new("tmpfs"), &all)
        }
    }
}

fn bind(destination: &Path, source: &Path, options: &[&str]) -> Result<Mount> {
    entry(destination, "bind", source, options)
}

fn entry(destination: &Path, kind: &str, source: &Path, options: &[&str]) -> Result<Mount> {
    let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
    let builder = MountBuilder::default().destination(destination).typ(kind).source(source);
    built(builder.options(options).build())
}

//! Devices given to a container (`--device`, or all of the host's for a privileged one).

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bollard_stubs::models::HostConfig;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceType};

use super::{SpecInput, built, is_privileged, resources};
use crate::error::{Error, Result};

/// Folders of /dev that are mounts or private to the host (moby skips the same).
const SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", ".lxc", "lxd"];

/// Nodes that every runtime makes by itself.
const MADE_BY_RUNTIME: [&str; 7] = ["null", "zero", "full", "random", "urandom", "tty", "ptmx"];

/// A device node of the host and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedDevice {
    destination: PathBuf,
    kind: LinuxDeviceType,
    major: i64,
    minor: i64,
    mode: u32,
    uid: u32,
    gid: u32,
    access: String,
}

/// Looks the wanted devices up on the host.
pub(crate) fn resolve(host: &HostConfig) -> Result<Vec<ResolvedDevice>> {
    let mut all = Vec::new();
    if is_privileged(host) {
        collect(Path::new("/dev"), &mut all);
    }
    for device in host.devices.iter().flatten() {
        let source = device.path_on_host.as_deref().unwrap_or_default();
        let destination = device.path_in_container.as_deref().unwrap_or(source);
        let access = device.cgroup_permissions.as_deref().filter(|p| !p.is_empty());
        let found = node(Path::new(source), Path::new(destination), access.unwrap_or("rwm"));
        all.push(found.ok_or_else(|| {
            let shown = "error gathering device information while adding custom device";
            Error::invalid(format!("{shown} \"{source}\": no such file or directory"))
        })?);
    }
    Ok(all)
}

fn collect(folder: &Path, all: &mut Vec<ResolvedDevice>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), all),
            // Links such as /dev/stdin are made anew in the container.
            Ok(kind) if kind.is_symlink() => {}
            Ok(_) => all.extend(node(&entry.path(), &entry.path(), "rwm")),
            Err(_) => {}
        }
    }
}

fn node(source: &Path, destination: &Path, access: &str) -> Option<ResolvedDevice> {
    let metadata = std::fs::metadata(source).ok()?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return None,
    };
    Some(ResolvedDevice {
        destination: destination.to_owned(),
        kind,
        major: i64::try_from(nix::sys::stat::major(metadata.rdev())).ok()?,
        minor: i64::try_from(nix::sys::stat::minor(metadata.rdev())).ok()?,
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        access: access.to_owned(),
    })
}

/// The nodes to make in the container.
pub(super) fn nodes(devices: &[ResolvedDevice]) -> Result<Vec<LinuxDevice>> {
    let made = |device: &&ResolvedDevice| {
        let names = MADE_BY_RUNTIME.iter().map(|name| Path::new("/dev").join(name));
        names.into_iter().any(|path| path == device.destination)
    };
    devices
        .iter()
        .filter(|device| !made(device))
        .map(|device| {
            built(
                LinuxDeviceBuilder::default()
                    .path(device.destination.clone())
                    .typ(device.kind)
                    .major(device.major)
                    .minor(device.minor)
                    .file_mode(device.mode)
                    .uid(device.uid)
                    .gid(device.gid)
                    .build(),
            )
        })
        .collect()
}

/// The rules of the device cgroup.
pub(super) fn rules(input: &SpecInput<'_>) -> Result<Vec<LinuxDeviceCgroup>> {
    if is_privileged(input.host) {
        return Ok(vec![resources::rule(true, None, None, None, "rwm")?]);
    }
    let mut rules = resources::default_device_rules()?;
    for device in input.devices {
        let numbers = (Some(device.major), Some(device.minor));
        rules.push(resources::rule(true, Some(device.kind), numbers.0, numbers.1, &device.access)?);
    }
    Ok(rules)
}

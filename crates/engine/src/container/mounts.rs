//! What a container mounts: binds, volumes and tmpfs of `--volume`, `--mount`, `--tmpfs` and the image.
//!
//! Planned once at creation into the API's mount points (anonymous volumes get their names then), resolved to paths at
//! each start. Mirrors moby's `daemon/volumes.go` and its mount parser's messages.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use bollard_stubs::models::{Mount, MountPoint, MountType};

use super::{Record, mount_options};
use crate::engine::Engine;
use crate::error::{Error, Result, io as io_error};
use crate::rootfs::Root;
use crate::spec::mounts::{MountSource, ResolvedMount};
use crate::volume::CreateVolume;

/// The kinds of mount points in the API.
const BIND: &str = "bind";
const VOLUME: &str = "volume";
const TMPFS: &str = "tmpfs";
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

impl Engine {
    /// Decides the container's mounts and makes the volumes that they need.
    pub(crate) fn plan_mounts(&self, record: &Record) -> Result<Vec<MountPoint>> {
        let mut points: Vec<MountPoint> = Vec::new();
        for bind in record.host.binds.iter().flatten() {
            self.add(&mut points, self.parse_bind(bind)?)?;
        }
        for mount in record.host.mounts.iter().flatten() {
            let point = self.parse_mount(mount)?;
            self.add(&mut points, point)?;
        }
        for target in record.host.tmpfs.iter().flat_map(HashMap::keys) {
            let target = destination(target, target)?;
            self.add(&mut points, point(TMPFS, "", &target, true))?;
        }
        for target in record.config.volumes.iter().flatten() {
            let target = destination(target, target)?;
            if points.iter().any(|p| p.destination.as_deref() == Some(&target)) {
                continue;
            }
            points.push(self.volume_point(CreateVolume::default(), &target, true)?);
        }
        Ok(points)
    }

    fn add(&self, points: &mut Vec<MountPoint>, point: MountPoint) -> Result<()> {
        if points.iter().any(|existing| existing.destination == point.destination) {
            let target = point.destination.unwrap_or_default();
            return Err(Error::invalid(format!("Duplicate mount point: {target}")));
        }
        points.push(point);
        Ok(())
    }

    /// Reads `source:destination[:mode]`.
    fn parse_bind(&self, text: &str) -> Result<MountPoint> {
        let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
        let mut parts = text.split(':');
        let (source, target) = match (parts.next(), parts.next()) {
            (Some(source), Some(target)) if !source.is_empty() => (source, target),
            _ => return Err(invalid()),
        };
        let mode = parts.next().unwrap_or_default();
        if parts.next().is_some() {
            return Err(invalid());
        }
        let target = destination(target, text)?;
        let mut writable = true;
        let mut propagation = String::new();
        for flag in mode.split(',').filter(|flag| !flag.is_empty()) {
            match flag {
                "ro" => writable = false,
                "rw" | "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent" => {}
                other if PROPAGATIONS.contains(&other) => other.clone_into(&mut propagation),
                other => {
                    let message = format!("invalid mode: {other}");
                    return Err(Error::invalid(message));
                }
            }
        }
        let mut point = if source.starts_with('/') {
            // Docker makes the folder of a bind that does not exist.
            if !Path::new(source).exists() {
                fs::create_dir_all(source).map_err(io_error(source))?;
            }
            point(BIND, source, &target, writable)
        } else {
            let request = CreateVolume { name: source.to_owned(), ..CreateVolume::default() };
            self.volume_point(request, &target, writable)?
        };
        point.mode = Some(mode.to_owned());
        if !propagation.is_empty() {
            point.propagation = Some(propagation);
        }
        Ok(point)
    }

    fn parse_mount(&self, mount: &Mount) -> Result<MountPoint> {
        let invalid = |kind: &str, why: &str| {
            Error::invalid(format!("invalid mount config for type \"{kind}\": {why}"))
        };
        let source = mount.source.as_deref().unwrap_or_default();
        let target = mount.target.as_deref().unwrap_or_default();
        let writable = mount.read_only != Some(true);
        let Some(kind) = mount.typ else {
            return Err(invalid("", "mount type unknown"));
        };
        let name = kind.to_string();
        if target.is_empty() {
            return Err(invalid(&name, "field Target must not be empty"));
        }
        let target = destination(target, target)?;
        mount_options::check(mount)?;
        match kind {
            MountType::BIND => {
                if source.is_empty() {
                    return Err(invalid(&name, "field Source must not be empty"));
                }
                if !source.starts_with('/') {
                    let why = format!("invalid mount path: '{source}' mount path must be absolute");
                    return Err(invalid(&name, &why));
                }
                let options = mount.bind_options.as_ref();
                if !Path::new(source).exists() {
                    if options.and_then(|o| o.create_mountpoint) != Some(true) {
                        let why = format!("bind source path does not exist: {source}");
                        return Err(invalid(&name, &why));
                    }
                    fs::create_dir_all(source).map_err(io_error(source))?;
                }
                let mut point = point(BIND, source, &target, writable);
                if let Some(propagation) = options.and_then(|o| o.propagation) {
                    let text = propagation.to_string();
                    point.propagation = Some(text).filter(|text| !text.is_empty());
                }
                Ok(point)
            }
            MountType::VOLUME => {
                let options = mount.volume_options.clone().unwrap_or_default();
                let driver = options.driver_config.unwrap_or_default();
                let request = CreateVolume {
                    name: source.to_owned(),
                    driver: driver.name.unwrap_or_default(),
                    options: driver.options.unwrap_or_default(),
                    labels: options.labels.unwrap_or_default(),
                };
                self.volume_point(request, &target, writable)
            }
            MountType::TMPFS => {
                if !source.is_empty() {
                    return Err(invalid(&name, "field Source must not be specified"));
                }
                Ok(point(TMPFS, "", &target, writable))
            }
            _ => Err(Error::invalid(format!(
                "invalid mount config for type \"{name}\": mount type unknown"
            ))),
        }
    }

    fn volume_point(
        &self,
        request: CreateVolume,
        target: &str,
        writable: bool,
    ) -> Result<MountPoint> {
        let volume = self.inner.volumes.create(request)?;
        let mut point = point(VOLUME, &volume.mountpoint, target, writable);
        point.name = Some(volume.name);
        point.driver = Some(volume.driver);
        Ok(point)
    }

    /// The mounts with their sources ready.
    pub(crate) fn resolve_mounts(
        &self,
        record: &Record,
        rootfs: &Path,
        root: &Root,
    ) -> Result<Vec<ResolvedMount>> {
        let mut resolved = Vec::new();
        for point in &record.mounts {
            let target = PathBuf::from(point.destination.clone().unwrap_or_default());
            let source = match point.typ.as_deref() {
                Some(TMPFS) => MountSource::Tmpfs(tmpfs_options(record, &target)),
                Some(VOLUME) => {
                    let name = point.name.as_deref().unwrap_or_default();
                    let folder = self.inner.volumes.mount(name, record.id.as_str())?;
                    if !keeps_empty(record, point) {
                        self.inner.volumes.copy_up(name, rootfs, &target)?;
                    }
                    MountSource::Path(folder)
                }
                _ => {
                    let path = PathBuf::from(point.source.clone().unwrap_or_default());
                    if !path.exists() {
                        let shown = path.display();
                        return Err(Error::invalid(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {shown}"
                        )));
                    }
                    MountSource::Path(path)
                }
            };
            // A folder made here belongs to the container's own layer, as in Docker.
            if !matches!(&source, MountSource::Path(path) if !path.is_dir()) {
                root.create_dir_all(&target).map_err(io_error(target.display()))?;
            }
            let propagation = point.propagation.clone().filter(|p| !p.is_empty());
            let below = mount_options::below(record, &target)?;
            resolved.push(ResolvedMount {
                destination: target,
                source,
                read_only: point.rw == Some(false),
                read_only_below: below.read_only,
                propagation: propagation.unwrap_or_else(|| "rprivate".to_owned()),
                recursive: below.shown,
            });
        }
        Ok(resolved)
    }

    /// The container's run is over: volumes may be unmounted.
    pub(crate) fn unmount_volumes(&self, record: &Record) -> Result<()> {
        let names = record.mounts.iter().filter_map(|point| point.name.as_deref());
        names
            .map(|name| self.inner.volumes.unmount(name, record.id.as_str()))
            .fold(Ok(()), Result::and)
    }

    /// The container goes; with `anonymous`, so do the volumes that only it had and nobody named.
    pub(crate) fn release_volumes(&self, record: &Record, anonymous: bool) -> Result<()> {
        let mut result = self.unmount_volumes(record);
        if !anonymous {
            return result;
        }
        for point in &record.mounts {
            let Some(name) = point.name.as_deref().filter(|_| is_anonymous(record, point)) else {
                continue;
            };
            let users = |name: &str| {
                let users = self.volume_users(name);
                users.into_iter().filter(|id| id != record.id.as_str()).collect()
            };
            result = result.and(self.inner.volumes.remove(name, true, &users));
        }
        result
    }

    /// The containers that refer to a volume, for whoever removes one.
    pub fn volume_users(&self, name: &str) -> Vec<String> {
        let uses = |record: &Record| record.mounts.iter().any(|m| m.name.as_deref() == Some(name));
        let containers = self.containers();
        containers.iter().filter(|c| c.read(uses)).map(|c| c.id.to_string()).collect()
    }
}

fn point(kind: &str, source: &str, target: &str, writable: bool) -> MountPoint {
    let bind = kind == BIND;
    MountPoint {
        typ: Some(kind.to_owned()),
        name: None,
        source: Some(source.to_owned()),
        destination: Some(target.to_owned()),
        driver: None,
        mode: Some(String::new()),
        rw: Some(writable),
        propagation: Some(if bind { "rprivate" } else { "" }.to_owned()),
    }
}

/// An absolute, clean path in the container that is not its root.
fn destination(target: &str, shown: &str) -> Result<String> {
    let path = Path::new(target);
    if !path.is_absolute() {
        let why = format!("invalid mount path: '{target}' mount path must be absolute");
        return Err(Error::invalid(format!("invalid volume specification: '{shown}': {why}")));
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    if clean == Path::new("/") {
        let why = "invalid specification: destination can't be '/'";
        return Err(Error::invalid(format!("invalid volume specification: '{shown}': {why}")));
    }
    Ok(clean.to_string_lossy().into_owned())
}

/// Options of a tmpfs from `--tmpfs` or `--mount type=tmpfs`.
fn tmpfs_options(record: &Record, target: &Path) -> Vec<String> {
    let by_flag = record.host.tmpfs.iter().flatten().find(|(path, _)| Path::new(path) == target);
    if let Some((_, options)) = by_flag {
        return options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
    }
    mount_options::tmpfs(record, target)
}

fn keeps_empty(record: &Record, point: &MountPoint) -> bool {
    let no_copy = record.host.mounts.iter().flatten().any(|mount| {
        mount.target == point.destination
            && mount.volume_options.as_ref().and_then(|o| o.no_copy) == Some(true)
    });
    let mode = point.mode.as_deref().unwrap_or_default();
    no_copy || mode.split(',').any(|flag| flag == "nocopy")
}

/// Whether nobody named the volume: it came from the image or from a mount without a source.
fn is_anonymous(record: &Record, point: &MountPoint) -> bool {
    let Some(name) = point.name.as_deref() else { return false };
    let in_binds = record.host.binds.iter().flatten().any(|b| b.split(':').next() == Some(name));
    let in_mounts = record.host.mounts.iter().flatten().any(|m| m.source.as_deref() == Some(name));
    !in_binds && !in_mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_destinations() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(destination(text, text).ok().as_deref(), expect);
        };
        check("/data", Some("/data"));
        check("/a/../b//c/", Some("/b/c"));
        check("/", None);
        check("/a/..", None);
        check("data", None);
    }
}

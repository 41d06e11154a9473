//! Lending volumes to containers, and the mounts behind volumes that have mount options.
//!
//! A mount is made for the first user and goes with the last. It survives a restart of the daemon: whoever adopts a
//! running container calls [`VolumeStore::mount`] for it again, and what is mounted already is left alone.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::mount_options::MountOptions;
use super::store::{VolumeStore, no_such_volume};
use crate::error::{Error, Result, io};

impl VolumeStore {
    /// Makes the volume ready for a container; returns the folder to bind. Calling it again for the same is harmless.
    pub fn mount(&self, name: &str, container: &str) -> Result<PathBuf> {
        let mut volumes = self.volumes();
        let entry = volumes.get_mut(name).ok_or_else(|| no_such_volume(name))?;
        let data = self.data(name);
        if let Some(options) = MountOptions::parse(&entry.record.options)?
            && !is_mount_point(&data)?
        {
            attach(&options, &data).map_err(|e| {
                Error::new(e.class(), format!("failed to mount local volume: {e}")).with_source(e)
            })?;
        }
        entry.mounted_by.insert(container.to_owned());
        Ok(data)
    }

    /// The container no longer needs the volume.
    pub fn unmount(&self, name: &str, container: &str) -> Result<()> {
        let mut volumes = self.volumes();
        let Some(entry) = volumes.get_mut(name) else { return Ok(()) };
        entry.mounted_by.remove(container);
        if entry.mounted_by.is_empty() && !entry.record.options.is_empty() {
            self.release_mount(name)?;
        }
        Ok(())
    }

    /// Undoes the volume's mount, if there is one.
    pub(super) fn release_mount(&self, name: &str) -> Result<()> {
        let data = self.data(name);
        if !is_mount_point(&data)? {
            return Ok(());
        }
        umount2(&data, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|e| io(format!("unmount volume {name}"))(e.into()))
    }
}

fn attach(options: &MountOptions, data: &Path) -> Result<()> {
    let text = options.resolved_data()?;
    let kind = (!options.flags.contains(MsFlags::MS_BIND)).then_some(options.kind.as_str());
    let mounted =
        mount(Some(options.device.as_str()), data, kind, options.flags, Some(text.as_str()));
    mounted.map_err(|e| io(format!("mount {}:{}", options.device, data.display()))(e.into()))?;
    // The kernel ignores all other flags of a bind mount when it is made.
    let later = options.flags & !(MsFlags::MS_BIND | MsFlags::MS_REC);
    if options.flags.contains(MsFlags::MS_BIND) && !later.is_empty() {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | later;
        if let Err(error) = mount(None::<&str>, data, None::<&str>, flags, None::<&str>) {
            let _ = umount2(data, MntFlags::MNT_DETACH);
            return Err(io(format!("remount {}", data.display()))(error.into()));
        }
    }
    Ok(())
}

/// Looks in this process' mount table; comparing devices would miss bind mounts of the same file system.
fn is_mount_point(path: &Path) -> Result<bool> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(io("read mount table"))?;
    let path = fs::canonicalize(path).map_err(io(format!("find {}", path.display())))?;
    let path = path.display().to_string().replace('\\', "\\134").replace(' ', "\\040");
    Ok(table.lines().any(|line| line.split(' ').nth(4) == Some(path.as_str())))
}

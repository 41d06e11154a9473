//! `docker volume ls` and the volumes' part of `docker system df`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use bollard_stubs::models::{Volume, VolumeUsageData};

use super::store::{VolumeStore, VolumeUsers};
use crate::error::Result;
use crate::image::Filters;
use crate::image::filter::{boolean, check_keys, has_label, values};

const FILTERS: [&str; 4] = ["dangling", "name", "label", "driver"];

impl VolumeStore {
    /// Lists volumes by name.
    pub fn list(&self, filters: &Filters, users: VolumeUsers<'_>) -> Result<Vec<Volume>> {
        check_keys(filters, &FILTERS)?;
        let dangling = boolean(filters, "dangling")?;
        let any = |key: &str, fits: &dyn Fn(&String) -> bool| {
            let wanted = values(filters, key);
            wanted.is_empty() || wanted.iter().any(fits)
        };
        let chosen = self.all().into_iter().filter(|volume| {
            any("name", &|name| volume.name.contains(name.as_str()))
                && any("driver", &|driver| volume.driver == *driver)
                && values(filters, "label").iter().all(|label| has_label(&volume.labels, label))
                && dangling.is_none_or(|dangling| users(&volume.name).is_empty() == dangling)
        });
        Ok(chosen.collect())
    }

    /// All volumes with their sizes and numbers of users.
    pub fn disk_usage(&self, users: VolumeUsers<'_>) -> Vec<Volume> {
        let mut volumes = self.all();
        for volume in &mut volumes {
            let size = size_of(&self.data(&volume.name))
                .map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
            let ref_count = i64::try_from(users(&volume.name).len()).unwrap_or(i64::MAX);
            volume.usage_data = Some(VolumeUsageData { size, ref_count });
        }
        volumes
    }

    pub(super) fn all(&self) -> Vec<Volume> {
        self.volumes().iter().map(|(name, entry)| self.describe(name, entry)).collect()
    }
}

/// The bytes of all regular files below a folder; what vanishes meanwhile does not count.
pub(super) fn size_of(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let Ok(status) = entry.metadata() else { continue };
            if status.is_dir() {
                folders.push(entry.path());
            } else if status.is_file() {
                total += status.size() / status.nlink().max(1);
            }
        }
    }
    Ok(total)
}

//! `docker volume prune`.

use bollard_stubs::models::VolumePruneResponse;

use super::list::size_of;
use super::store::{ANONYMOUS_LABEL, VolumeStore, VolumeUsers};
use crate::error::{ErrorClass, Result};
use crate::image::Filters;
use crate::image::filter::{boolean, check_keys, has_label, values};

const FILTERS: [&str; 3] = ["all", "label", "label!"];

impl VolumeStore {
    /// Removes volumes that no container refers to: those that nobody named, or with `all=true` every one.
    pub fn prune(&self, filters: &Filters, users: VolumeUsers<'_>) -> Result<VolumePruneResponse> {
        check_keys(filters, &FILTERS)?;
        let all = boolean(filters, "all")?.unwrap_or(false);
        let mut deleted = Vec::new();
        let mut reclaimed = 0u64;
        for volume in self.all() {
            let wanted = (all || volume.labels.contains_key(ANONYMOUS_LABEL))
                && values(filters, "label").iter().all(|label| has_label(&volume.labels, label))
                && !values(filters, "label!").iter().any(|label| has_label(&volume.labels, label));
            if !wanted || !users(&volume.name).is_empty() {
                continue;
            }
            let size = size_of(&self.data(&volume.name)).unwrap_or(0);
            match self.remove(&volume.name, false, users) {
                Ok(()) => {
                    reclaimed += size;
                    deleted.push(volume.name);
                }
                // Somebody began to use it, or removed it, since it was looked at.
                Err(error)
                    if matches!(error.class(), ErrorClass::Conflict | ErrorClass::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(VolumePruneResponse {
            volumes_deleted: Some(deleted),
            space_reclaimed: Some(i64::try_from(reclaimed).unwrap_or(i64::MAX)),
        })
    }
}

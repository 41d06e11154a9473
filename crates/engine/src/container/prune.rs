//! `docker container prune`.

use super::Status;
use super::list::ListOptions;
use crate::engine::Engine;
use crate::error::Result;

/// What pruning removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Full IDs.
    pub deleted: Vec<String>,
    /// Bytes that the containers' own layers took.
    pub space_reclaimed_bytes: u64,
}

impl Engine {
    /// Removes every container that doesn't run and passes the filters (`until`, `label`, `label!`).
    pub async fn prune(&self, options: &ListOptions) -> Result<PruneReport> {
        let mut report = PruneReport::default();
        for container in self.containers() {
            let record = container.record();
            let stopped = matches!(record.state.status, Status::Created | Status::Exited);
            if !stopped || !options.passes_prune(&record)? {
                continue;
            }
            let size = super::inspect::folder_size(&container.overlay.upper());
            if self.remove(container.id.as_str(), false, false).await.is_ok() {
                report.deleted.push(container.id.to_string());
                report.space_reclaimed_bytes += size;
            }
        }
        Ok(report)
    }
}

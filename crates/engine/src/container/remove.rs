//! `docker rm`: a container and all that is its own.

use std::fs;
use std::sync::Arc;

use super::{Container, Record, Status};
use crate::engine::Engine;
use crate::error::{Error, Result, io as io_error};

impl Engine {
    /// Removes a container; a running one only with `force`. `volumes` removes its anonymous volumes as well.
    pub async fn remove(&self, reference: &str, force: bool, volumes: bool) -> Result<()> {
        let container = self.container(reference)?;
        let status = container.read(|record| record.state.status);
        let in_progress =
            || Error::conflict(format!("removal of container {reference} is already in progress"));
        let _mark = container.mark_for_removal().ok_or_else(in_progress)?;
        match status {
            Status::Removing => return Err(in_progress()),
            Status::Running if !force => {
                return Err(Error::conflict(format!(
                    "cannot remove container \"/{}\": container is running: stop the container before removing or force remove",
                    container.read(|record| record.name.clone())
                )));
            }
            Status::Restarting => self.cancel_restart(&container)?,
            Status::Running => {
                container.update(false, |record| record.manually_stopped = true)?;
                self.stop_running(&container, Some(0)).await?;
            }
            Status::Created | Status::Exited => {}
        }
        let operation = container.operation.lock().await;
        if container.progress.borrow().removed {
            // It removed itself when it ended.
            return Ok(());
        }
        if container.read(Record::is_running) {
            let message =
                format!("cannot remove container \"{reference}\": it was started meanwhile");
            return Err(Error::conflict(message));
        }
        self.remove_stopped(&container, volumes).await?;
        drop(operation);
        Ok(())
    }

    /// Removes a container that does not run; the caller holds its operation lock. Goes on past errors and reports the
    /// first.
    pub(crate) async fn remove_stopped(
        &self,
        container: &Arc<Container>,
        volumes: bool,
    ) -> Result<()> {
        let record = container.update(false, |record| record.state.status = Status::Removing)?;
        let network = self.detach_network(container).await;
        let overlay = container.overlay.remove();
        self.inner.cgroups.remove(&self.inner.config.cgroup(container.id.as_str()));
        let _ = fs::remove_dir_all(&container.bundle);
        let volume = self.release_volumes(&record, volumes);
        let folder = fs::remove_dir_all(&container.folder);
        let folder = folder.map_err(io_error(container.folder.display()));
        self.with_registry(|registry| registry.remove(&container.id));
        container.publish(&self.inner.events, "destroy", &[]);
        container.progress.send_modify(|progress| {
            progress.running = false;
            progress.removed = true;
        });
        network.and(overlay).and(volume).and(folder)
    }
}

//! Containers: one file per verb, over the [`Container`] that they share.
//!
//! A container has one `operation` lock, held by whatever changes its life (start, exit, remove, rename); stopping and
//! killing only send signals and wait, so they work while others wait for the lock. Reading takes a copy of the record.

mod cpuset;
mod create;
mod exit;
mod files;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod list;
mod log_attributes;
pub(crate) mod logs;
mod mount_options;
mod mounts;
mod names;
mod network;
mod prune;
mod record;
mod registry;
mod remove;
mod rename;
mod resolve;
mod restart_policy;
mod shim_client;
mod signal;
mod start;
mod stop;
mod validate;
pub(crate) mod wait;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard_stubs::models::EventMessageTypeEnum;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::EngineConfig;
use crate::error::Result;
use crate::events::EventBus;
use crate::rootfs::Overlay;
pub use prune::PruneReport;
pub(crate) use record::{Record, State, Status};
pub(crate) use registry::Registry;
use shim_client::ShimClient;
use wait::Progress;

/// A container's full ID: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    /// A new random ID. Like Docker's it never reads as a decimal number in its short form.
    pub(crate) fn random() -> Self {
        loop {
            let id = hex::encode(rand::random::<[u8; 32]>());
            if !id[..12].bytes().all(|b| b.is_ascii_digit()) {
                return Self(id);
            }
        }
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One container, in memory.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    /// Durable folder.
    pub(crate) folder: PathBuf,
    /// Bundle folder of this boot.
    pub(crate) bundle: PathBuf,
    pub(crate) overlay: Overlay,
    record: Mutex<Record>,
    /// Held by whatever changes the container's life.
    pub(crate) operation: tokio::sync::Mutex<()>,
    pub(crate) progress: watch::Sender<Progress>,
    shim: Mutex<Option<ShimClient>>,
    /// The pause before the present run, if a restart policy made it.
    last_pause: Mutex<Duration>,
    /// Set while somebody removes it, so that nobody starts it meanwhile.
    removal: AtomicBool,
}

/// Somebody is removing a container; a removal that fails leaves it startable again.
pub(crate) struct RemovalMark<'a>(&'a Container);

impl Drop for RemovalMark<'_> {
    fn drop(&mut self) {
        self.0.removal.store(false, Ordering::Release);
    }
}

impl Container {
    /// A container of this record.
    pub(crate) fn new(record: Record, config: &EngineConfig) -> Self {
        let id = record.id.clone();
        let overlay_dir = config.data_root.join("overlay").join(id.as_str());
        Self {
            folder: config.container_dir(id.as_str()),
            bundle: config.bundle_dir(id.as_str()),
            overlay: Overlay::new(overlay_dir, config.exec_root.join("l")),
            progress: watch::Sender::new(Progress::of(&record)),
            record: Mutex::new(record),
            operation: tokio::sync::Mutex::new(()),
            shim: Mutex::new(None),
            last_pause: Mutex::new(Duration::ZERO),
            removal: AtomicBool::new(false),
            id,
        }
    }

    /// Marks the container for removal until the mark is dropped; none where somebody else did already.
    pub(crate) fn mark_for_removal(&self) -> Option<RemovalMark<'_>> {
        let marked = self.removal.swap(true, Ordering::AcqRel);
        (!marked).then_some(RemovalMark(self))
    }

    pub(crate) fn is_marked_for_removal(&self) -> bool {
        self.removal.load(Ordering::Acquire)
    }

    /// A copy of the record.
    pub(crate) fn record(&self) -> Record {
        self.lock_record().clone()
    }

    /// Reads something of the record.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Record) -> T) -> T {
        read(&self.lock_record())
    }

    /// Changes the record in memory and on disk, then tells who waits.
    pub(crate) fn update(&self, durable: bool, change: impl FnOnce(&mut Record)) -> Result<Record> {
        // Saved under the lock, so that the file follows the memory in the same order.
        let mut record = self.lock_record();
        change(&mut record);
        let changed = record.clone();
        let saved = changed.save(&self.folder, durable);
        drop(record);
        self.progress.send_modify(|progress| progress.follow(&changed));
        saved.map(|()| changed)
    }

    /// As [`Container::update`], on disk only where `change` says that it is worth it.
    pub(crate) fn touch(&self, change: impl FnOnce(&mut Record) -> bool) -> Result<()> {
        let mut record = self.lock_record();
        let is_worth_writing = change(&mut record);
        let changed = record.clone();
        let saved = if is_worth_writing { changed.save(&self.folder, false) } else { Ok(()) };
        drop(record);
        self.progress.send_modify(|progress| progress.follow(&changed));
        saved
    }

    pub(crate) fn shim(&self) -> Option<ShimClient> {
        self.shim.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_shim(&self, shim: Option<ShimClient>) {
        *self.shim.lock().unwrap_or_else(PoisonError::into_inner) = shim;
    }

    pub(crate) fn last_pause(&self) -> Duration {
        *self.last_pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_last_pause(&self, pause: Duration) {
        *self.last_pause.lock().unwrap_or_else(PoisonError::into_inner) = pause;
    }

    /// The json-file log.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}-json.log", self.id))
    }

    /// Where the shim leaves the exit record.
    pub(crate) fn exit_path(&self) -> PathBuf {
        self.folder.join("exit.json")
    }

    /// Publishes an event about this container with Docker's attributes.
    pub(crate) fn publish(&self, bus: &EventBus, action: &str, extra: &[(&str, String)]) {
        let mut attributes: HashMap<String, String> = self.read(|record| {
            let mut attributes = record.config.labels.clone().unwrap_or_default();
            attributes.insert("image".to_owned(), record.image.clone());
            attributes.insert("name".to_owned(), record.name.clone());
            attributes
        });
        attributes.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        bus.publish(EventMessageTypeEnum::CONTAINER, action, self.id.as_str(), attributes);
    }

    fn lock_record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

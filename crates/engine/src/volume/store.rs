//! The volume store: create, find, remove.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models::{Volume, VolumeScopeEnum};
use serde::{Deserialize, Serialize};

use super::mount_options::MountOptions;
use super::name;
use crate::error::{Error, Result, io};
use crate::image::durable;
use crate::timestamp;

const VERSION: u32 = 1;
const DRIVER: &str = "local";
/// Marks volumes that no user named, as moby does; only these go in a plain prune.
pub(super) const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
const SCRATCH: &str = ".tmp";

/// Answers which containers refer to a volume, running or not.
pub type VolumeUsers<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// A volume to be made.
#[derive(Debug, Clone, Default)]
pub struct CreateVolume {
    /// Its name; an empty one is made up.
    pub name: String,
    /// The driver; empty means `local`.
    pub driver: String,
    /// The driver's options: none, or `type`, `device` and `o` of a mount.
    pub options: HashMap<String, String>,
    /// Labels.
    pub labels: HashMap<String, String>,
}

/// The volumes of one engine; clones share it.
#[derive(Clone)]
pub struct VolumeStore {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    volumes: Mutex<BTreeMap<String, Entry>>,
}

/// A volume and who has it mounted.
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) mounted_by: BTreeSet<String>,
}

/// A volume's `volume.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    created_at: String,
    pub(super) options: HashMap<String, String>,
    pub(super) labels: HashMap<String, String>,
}

impl VolumeStore {
    /// Opens the store in folder `root`, creating it if needed.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(io(format!("create {}", root.display())))?;
        durable::fresh_scratch(&root.join(SCRATCH))
            .map_err(io(format!("create {}", root.display())))?;
        let mut volumes = BTreeMap::new();
        for entry in fs::read_dir(root).map_err(io(format!("read {}", root.display())))? {
            let entry = entry.map_err(io("read volumes"))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name == SCRATCH {
                continue;
            }
            match read_record(&entry.path()) {
                Ok(record) => {
                    drop(volumes.insert(name, Entry { record, mounted_by: BTreeSet::new() }))
                }
                Err(error) => {
                    tracing::warn!(volume = name, %error, "volume is damaged and left alone")
                }
            }
        }
        Ok(Self { inner: Arc::new(Inner { root: root.to_owned(), volumes: Mutex::new(volumes) }) })
    }

    /// Makes a volume; one that exists already is returned as it is.
    pub fn create(&self, request: CreateVolume) -> Result<Volume> {
        let CreateVolume { mut name, driver, options, mut labels } = request;
        if !driver.is_empty() && driver != DRIVER {
            let message = format!(
                "create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            );
            return Err(Error::not_found(message));
        }
        if name.is_empty() {
            name = hex::encode(rand::random::<[u8; 32]>());
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        name::validate(&name)?;
        MountOptions::parse(&options)
            .map_err(|e| Error::new(e.class(), format!("create {name}: {e}")).with_source(e))?;
        let mut volumes = self.volumes();
        if !volumes.contains_key(&name) {
            let record = Record { version: VERSION, created_at: timestamp::now(), options, labels };
            self.store(&name, &record)?;
            volumes.insert(name.clone(), Entry { record, mounted_by: BTreeSet::new() });
        }
        volumes
            .get(&name)
            .map(|entry| self.describe(&name, entry))
            .ok_or_else(|| no_such_volume(&name))
    }

    /// The volume of that name.
    pub fn inspect(&self, name: &str) -> Result<Volume> {
        let volumes = self.volumes();
        volumes
            .get(name)
            .map(|entry| self.describe(name, entry))
            .ok_or_else(|| no_such_volume(name))
    }

    /// Removes a volume that no container refers to. With `force`, one that does not exist is no error.
    pub fn remove(&self, name: &str, force: bool, users: VolumeUsers<'_>) -> Result<()> {
        // Whoever answers has locks of its own, so it is asked while the store is not locked.
        let mut users: BTreeSet<String> = users(name).into_iter().collect();
        let mut volumes = self.volumes();
        let Some(entry) = volumes.get(name) else {
            return if force { Ok(()) } else { Err(no_such_volume(name)) };
        };
        users.extend(entry.mounted_by.iter().cloned());
        if !users.is_empty() {
            let users = users.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::conflict(format!("remove {name}: volume is in use - [{users}]")));
        }
        self.release_mount(name)?;
        durable::remove_folder(&self.scratch(), &self.folder(name))
            .map_err(io(format!("remove {name}")))?;
        volumes.remove(name);
        Ok(())
    }

    /// The folder that containers see.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.folder(name).join("_data")
    }

    pub(super) fn volumes(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.inner.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn describe(&self, name: &str, entry: &Entry) -> Volume {
        Volume {
            name: name.to_owned(),
            driver: DRIVER.to_owned(),
            mountpoint: self.data(name).display().to_string(),
            created_at: Some(entry.record.created_at.clone()),
            labels: entry.record.labels.clone(),
            options: entry.record.options.clone(),
            scope: Some(VolumeScopeEnum::LOCAL),
            ..Volume::default()
        }
    }

    fn store(&self, name: &str, record: &Record) -> Result<()> {
        let failed = |error| io(format!("create {name}"))(error);
        let scratch = durable::ScratchFolder::new(&self.scratch()).map_err(failed)?;
        let data = scratch.path().join("_data");
        fs::create_dir(&data).map_err(failed)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        // Only the daemon looks at the folder around; the data's own mode is the containers' business.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o701)).map_err(failed)?;
        let json = serde_json::to_vec(record)
            .map_err(|e| Error::system("encode volume").with_source(e))?;
        fs::write(scratch.path().join("volume.json"), json).map_err(failed)?;
        match durable::publish_folder(scratch.path(), &self.folder(name)).map_err(failed)? {
            true => Ok(()),
            // A damaged volume of the name is left alone; its data may matter to somebody.
            false => Err(Error::conflict(format!("create {name}: volume name must be unique"))),
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }

    fn scratch(&self) -> PathBuf {
        self.inner.root.join(SCRATCH)
    }
}

pub(super) fn no_such_volume(name: &str) -> Error {
    Error::not_found(format!("get {name}: no such volume"))
}

fn read_record(folder: &Path) -> Result<Record> {
    let bytes = fs::read(folder.join("volume.json")).map_err(io("read volume.json"))?;
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|e| Error::system(format!("volume.json: {e}")).with_source(e))?;
    if record.version != VERSION {
        return Err(Error::system(format!("volume.json has version {}", record.version)));
    }
    Ok(record)
}

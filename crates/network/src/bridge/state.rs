//! The bridge's state on disk: one small JSON file, replaced as a whole.
//!
//! It describes what is in the kernel, which a power cut empties; so it is renamed into place and not synced.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

use super::{Attachment, lock};

/// The format below; a file of another one is not read.
const VERSION: u32 = 1;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) subnet: Ipv4Net,
    pub(super) cursor: Ipv4Addr,
    pub(super) endpoints: BTreeMap<String, Attachment>,
}

impl Record {
    pub(super) fn new(
        subnet: Ipv4Net,
        cursor: Ipv4Addr,
        endpoints: Vec<(String, Attachment)>,
    ) -> Self {
        Self { version: VERSION, subnet, cursor, endpoints: endpoints.into_iter().collect() }
    }
}

#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    /// Taken before the record is: of two savers the later one writes the later record.
    saving: Mutex<()>,
}

impl StateFile {
    pub(super) fn new(folder: &Path, bridge: &str) -> Self {
        Self { path: folder.join(format!("bridge-{bridge}.json")), saving: Mutex::new(()) }
    }

    /// The record; none if there is no file, or one that is damaged or of another version.
    pub(super) fn load(&self) -> Result<Option<Record>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read")(error)),
        };
        match serde_json::from_slice::<Record>(&text) {
            Ok(record) if record.version == VERSION => Ok(Some(record)),
            Ok(record) => {
                tracing::warn!(path = %self.path.display(), record.version, "ignoring a state file of another version");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "ignoring a damaged state file");
                Ok(None)
            }
        }
    }

    /// Replaces the file by the record.
    pub(super) fn save(&self, record: impl FnOnce() -> Record) -> Result<()> {
        let _saving = lock(&self.saving);
        let write = || {
            let text = serde_json::to_vec(&record())?;
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let new = self.path.with_extension("json.new");
            fs::write(&new, text)?;
            fs::rename(&new, &self.path)
        };
        write().map_err(self.failed("write"))
    }

    pub(super) fn delete(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove")(error))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::State { operation, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_and_foreign_files_are_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = StateFile::new(folder.path(), "swarm0");
        assert_eq!(file.load().expect("readable"), None);
        let record = Record::new(
            "172.17.0.1/16".parse().expect("a subnet"),
            Ipv4Addr::new(172, 17, 0, 5),
            Vec::new(),
        );
        file.save(|| record.clone()).expect("writable");
        assert_eq!(file.load().expect("readable"), Some(record.clone()));
        for (version, text) in [(2, None), (1, Some("{\"version\":1,"))] {
            file.save(|| Record { version, ..record.clone() }).expect("writable");
            if let Some(text) = text {
                fs::write(&file.path, text).expect("writable");
            }
            assert_eq!(file.load().expect("readable"), None, "{text:?}");
        }
    }
}

//! What a member remembers of its membership between starts of the daemon.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The format that this build writes; a file of another is refused.
const FORMAT_VERSION: u32 = 1;

/// A membership on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedMembership {
    version: u32,
    /// Where a manager listens, `ip:port`.
    pub(crate) listen_addr: String,
    /// What others dial, `ip:port`; empty where unknown.
    pub(crate) advertise_addr: String,
    /// The interface that had this address; empty where it is none of this machine's (behind a NAT, say).
    #[serde(default)]
    pub(crate) advertise_interface: String,
    /// The data path's address; empty for the advertised one.
    pub(crate) data_path_addr: String,
    /// The founder's Raft identity until the cluster is there: a daemon that ends before has promised nothing yet, and
    /// forgets it. 0 elsewhere, as others' are kept beside their logs.
    pub(crate) raft_id: u64,
    /// The managers that were known last: node ID and `ip:port`.
    pub(crate) managers: Vec<(String, String)>,
    /// Whether this manager is to leave all others behind, and that is not done yet: a crash in between is made up for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) force_new_cluster: bool,
}

impl SavedMembership {
    pub(crate) fn new(listen_addr: String, advertise_addr: String, data_path_addr: String) -> Self {
        Self {
            version: FORMAT_VERSION,
            listen_addr,
            advertise_addr,
            advertise_interface: String::new(),
            data_path_addr,
            raft_id: 0,
            managers: Vec::new(),
            force_new_cluster: false,
        }
    }
}

/// The folder of a node's swarm state, laid out as Docker's: `certificates`, `raft`, `worker` and the state file.
#[derive(Debug, Clone)]
pub(crate) struct StateFolder {
    root: PathBuf,
}

impl StateFolder {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn raft(&self) -> PathBuf {
        self.root.join("raft")
    }

    pub(crate) fn worker(&self) -> PathBuf {
        self.root.join("worker").join("tasks")
    }

    fn file(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// The membership; none where the node is not a member.
    pub(crate) fn load(&self) -> io::Result<Option<SavedMembership>> {
        let text = match fs::read(self.file()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("reading {}: {error}", self.file().display()),
                ));
            }
        };
        let saved: SavedMembership = serde_json::from_slice(&text).map_err(|error| {
            io::Error::other(format!("{} is damaged: {error}", self.file().display()))
        })?;
        if saved.version != FORMAT_VERSION {
            return Err(io::Error::other(format!(
                "{} has format version {}, and this daemon reads {FORMAT_VERSION}",
                self.file().display(),
                saved.version
            )));
        }
        Ok(Some(saved))
    }

    /// Replaces the membership on disk; on return it is durable.
    pub(crate) fn save(&self, saved: &SavedMembership) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let partial = self.root.join("state.json.partial");
        let mut file = File::create(&partial)?;
        file.write_all(&serde_json::to_vec_pretty(saved)?)?;
        file.sync_all()?;
        fs::rename(&partial, self.file())?;
        File::open(&self.root)?.sync_all()
    }

    /// Forgets the membership and everything that belongs to it. The state file goes first: what a crash leaves behind
    /// then is not taken for a membership.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_file(self.file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The membership that runs, for all its parts: what one changes, the others see, and the disk has it.
#[derive(Debug)]
pub(crate) struct Record {
    folder: StateFolder,
    saved: Mutex<SavedMembership>,
}

impl Record {
    pub(crate) fn new(folder: StateFolder, saved: SavedMembership) -> Self {
        Self { folder, saved: Mutex::new(saved) }
    }

    pub(crate) fn get(&self) -> SavedMembership {
        self.saved().clone()
    }

    /// Changes it here and on disk; here also where the disk fails.
    pub(crate) fn change(&self, change: impl FnOnce(&mut SavedMembership)) -> io::Result<()> {
        let mut saved = self.saved();
        let before = saved.clone();
        change(&mut saved);
        if *saved == before { Ok(()) } else { self.folder.save(&saved) }
    }

    // A change that panicked is at worst half made here, and not on disk.
    fn saved(&self) -> MutexGuard<'_, SavedMembership> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_saved_and_refuses_other_formats() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = StateFolder::new(&root.path().join("swarm"));
        assert_eq!(folder.load().expect("none yet"), None);
        let mut saved =
            SavedMembership::new("0.0.0.0:2377".into(), "10.0.0.1:2377".into(), "".into());
        saved.managers.push(("n1".into(), "10.0.0.1:2377".into()));
        folder.save(&saved).expect("saved");
        assert_eq!(folder.load().expect("loaded"), Some(saved.clone()));
        saved.version = 2;
        folder.save(&saved).expect("saved");
        assert!(folder.load().unwrap_err().to_string().contains("format version 2"));
        folder.clear().expect("cleared");
        assert_eq!(folder.load().expect("none again"), None);
        folder.clear().expect("cleared twice");
    }
}

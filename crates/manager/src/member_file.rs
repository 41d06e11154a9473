//! What a manager remembers of itself beside its log: whose log it is.
//!
//! A log that was copied from another node must not be used: two members with one identity would vote twice.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The format that this build writes; a file of another is refused.
const FORMAT_VERSION: u32 = 1;
const NAME: &str = "member.json";

/// A member's identity on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberFile {
    version: u32,
    pub(crate) node_id: String,
    pub(crate) cluster_id: String,
    pub(crate) raft_id: u64,
    /// Where the others dial this member.
    pub(crate) addr: String,
    /// Whether something stands in the log. Files of before don't say so.
    #[serde(default)]
    pub(crate) has_log: bool,
}

/// Why the log of this directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemberFileError {
    /// It cannot be read or written.
    #[error("the manager's identity in {} cannot be read or kept", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A newer version wrote it.
    #[error(
        "the manager's identity has format {found}, and this version reads up to {FORMAT_VERSION}"
    )]
    Format {
        /// The format found.
        found: u32,
    },
    /// The log is that of a manager which runs on another machine.
    #[error(
        "the data in {} is a copy: manager {node_id} runs at {addr}. Two with one identity would vote twice, so this one is \
         not started; leave the swarm with --force here and join it anew, or stop the other one first",
        directory.display()
    )]
    Runs {
        /// The directory of the log.
        directory: PathBuf,
        /// The manager.
        node_id: String,
        /// Where it answers.
        addr: String,
    },
    /// The log is another node's.
    #[error(
        "the data in {} belongs to manager {owner}, and this node is {own}: a manager's data cannot be used by another \
         node; leave the swarm with --force and join it anew",
        directory.display()
    )]
    Foreign {
        /// The directory of the log.
        directory: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who this node is.
        own: String,
    },
}

impl MemberFile {
    pub(crate) fn new(node_id: &str, cluster_id: &str, raft_id: u64, addr: &str) -> Self {
        Self {
            version: FORMAT_VERSION,
            node_id: node_id.to_owned(),
            cluster_id: cluster_id.to_owned(),
            raft_id,
            addr: addr.to_owned(),
            has_log: false,
        }
    }

    /// The identity in a log's directory, if it is this node's; none where no manager ever ran.
    pub(crate) fn load(
        directory: &Path,
        node_id: &str,
        cluster_id: &str,
    ) -> Result<Option<Self>, MemberFileError> {
        let path = directory.join(NAME);
        let failed = |source: io::Error| MemberFileError::File { path: path.clone(), source };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let file: Self = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        if file.version != FORMAT_VERSION {
            return Err(MemberFileError::Format { found: file.version });
        }
        if file.node_id != node_id || file.cluster_id != cluster_id {
            return Err(MemberFileError::Foreign {
                directory: directory.to_owned(),
                owner: file.node_id,
                own: node_id.to_owned(),
            });
        }
        Ok(Some(file))
    }

    /// Keeps the identity; on return it is durable.
    pub(crate) fn save(&self, directory: &Path) -> Result<(), MemberFileError> {
        let path = directory.join(NAME);
        self.write(directory, &path).map_err(|source| MemberFileError::File { path, source })
    }

    fn write(&self, directory: &Path, path: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let partial = directory.join("member.json.partial");
        let mut file = File::create(&partial)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_nodes_data_is_recognised() {
        let directory = tempfile::tempdir().expect("a directory");
        let load = |node: &str, cluster: &str| MemberFile::load(directory.path(), node, cluster);
        assert_eq!(load("n1", "c1").expect("none yet"), None);
        let file = MemberFile::new("n1", "c1", 7, "10.0.0.1:2377");
        file.save(directory.path()).expect("saved");
        assert_eq!(load("n1", "c1").expect("own"), Some(file));
        let before = r#"{"version":1,"node_id":"n1","cluster_id":"c1","raft_id":7,"addr":""}"#;
        fs::write(directory.path().join(NAME), before).expect("written");
        assert!(!load("n1", "c1").expect("read").expect("there").has_log, "files of before");
        for (node, cluster) in [("n2", "c1"), ("n1", "c2")] {
            assert!(matches!(load(node, cluster), Err(MemberFileError::Foreign { .. })));
        }
    }
}

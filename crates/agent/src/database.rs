//! The node's memory of its tasks: one file per task, so that a restarted daemon goes on where it was.
//!
//! A file holds a version byte and the encoded task with its last status. Files are replaced atomically but not
//! synced: what they protect against is the death of the daemon; when the machine dies its containers die with it, and
//! the manager assigns anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;
use swarm_proto::v1::Task;
use tracing::warn;

/// The first byte of every file; readers refuse others.
const FORMAT_VERSION: u8 = 1;

/// The tasks of this node on disk.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    folder: PathBuf,
}

impl Database {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// All tasks that can be read; an unreadable file is reported and removed, and the manager sends the task again.
    pub(crate) fn load(&self) -> io::Result<Vec<Task>> {
        let mut tasks = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            match fs::read(&path)?.split_first() {
                Some((&FORMAT_VERSION, body)) if Task::decode(body).is_ok() => {
                    tasks.extend(Task::decode(body));
                }
                _ => {
                    warn!(path = %path.display(), "removing an unreadable task record");
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(tasks)
    }

    pub(crate) fn put(&self, task: &Task) {
        let path = self.folder.join(&task.id);
        let partial = self.folder.join(format!(".{}", task.id));
        let mut body = vec![FORMAT_VERSION];
        // A vector grows as needed.
        let _ = task.encode(&mut body);
        if let Err(error) = fs::write(&partial, body).and_then(|()| fs::rename(&partial, &path)) {
            // The task goes on: only a restart of the daemon would miss the record.
            warn!(task.id, %error, "recording a task failed");
        }
    }

    pub(crate) fn delete(&self, id: &str) {
        if let Err(error) = fs::remove_file(self.folder.join(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(task.id = id, %error, "removing a task record failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_tasks_and_drops_what_it_cannot_read() {
        let folder = std::env::temp_dir().join(format!("swarm-agent-{}", std::process::id()));
        let database = Database::open(&folder).expect("a temporary folder");
        let task = Task { id: "one".into(), slot: 3, ..Task::default() };
        database.put(&task);
        database.put(&Task { id: "two".into(), ..Task::default() });
        database.delete("two");
        database.delete("never");
        fs::write(folder.join("torn"), [FORMAT_VERSION, 0xff]).expect("a file");
        fs::write(folder.join("newer"), [9, 1]).expect("a file");
        assert_eq!(database.load().expect("readable"), [task]);
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 1);
        fs::remove_dir_all(folder).expect("removed");
    }
}

//! A folder of backups: one more from time to time, the oldest go; and how one file is written so that it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::{Backup, BackupError};

const PREFIX: &str = "swarm-";
const SUFFIX: &str = ".backup";
/// The ending of a file that is being written.
const UNFINISHED: &str = ".partial";
/// Sorts as the times do.
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// Where backups are kept, how often one is made and how many stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFolder {
    /// The folder; it is made where it is missing.
    pub path: PathBuf,
    /// The time from one backup to the next.
    pub interval: Duration,
    /// So many of a cluster's backups stay.
    pub keep: usize,
}

impl BackupFolder {
    /// The time until the next backup of a cluster is due, by the file times of those that there are.
    pub fn due_in(&self, cluster_id: &str, now: SystemTime) -> Duration {
        let newest = self.list(cluster_id).ok().and_then(|files| files.last().cloned());
        let made = newest.and_then(|file| fs::metadata(file).ok()?.modified().ok());
        // A clock that went back makes a backup due.
        let age = made.map(|made| now.duration_since(made).unwrap_or(self.interval));
        age.map_or(Duration::ZERO, |age| self.interval.saturating_sub(age))
    }

    /// Keeps a backup's file, then removes the oldest ones of its cluster.
    ///
    /// # Errors
    /// [`BackupError::File`]; older backups stay then.
    pub fn add(&self, backup: &Backup, file: &[u8]) -> Result<PathBuf, BackupError> {
        let failed =
            |action| move |source| BackupError::File { action, path: self.path.clone(), source };
        fs::create_dir_all(&self.path).map_err(failed("making the folder"))?;
        let created = i64::try_from(backup.about.created_at).unwrap_or_default();
        let created = OffsetDateTime::from_unix_timestamp(created)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .format(STAMP)
            .map_err(|_| BackupError::Seal)?;
        let (cluster_id, index) = (backup.cluster_id(), backup.about.index);
        let name = format!("{PREFIX}{cluster_id}-{created}-{index}{SUFFIX}");
        let path = self.path.join(name);
        write_file(&path, file)?;
        let files = self.list(cluster_id).map_err(failed("listing"))?;
        let gone = files.len().saturating_sub(self.keep.max(1));
        for old in &files[..gone] {
            fs::remove_file(old).map_err(failed("removing an old backup in"))?;
        }
        Ok(path)
    }

    /// A cluster's backups, the oldest first.
    fn list(&self, cluster_id: &str) -> io::Result<Vec<PathBuf>> {
        let prefix = format!("{PREFIX}{cluster_id}-");
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().into_string()
                && name.starts_with(&prefix)
                && name.ends_with(SUFFIX)
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names.iter().map(|name| self.path.join(name)).collect())
    }
}

/// Writes a file that only its owner may read, whole or not at all; one of that name is replaced.
///
/// # Errors
/// [`BackupError::File`]; what was there before is there still.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(UNFINISHED);
    let partial = PathBuf::from(partial);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        // A leftover of a crash might have other rights.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| {
        // Gives back what it took of a full disk.
        let _ = fs::remove_file(&partial);
        BackupError::File { action: "writing", path: path.to_owned(), source }
    })
}

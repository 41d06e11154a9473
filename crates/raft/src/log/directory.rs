//! The log's directory: who holds it, what lies in it, and what is swept out.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::error::LogError;
use super::segment::{self, FORMAT};

/// Held while the log is open.
const LOCK: &str = "lock";
/// The ending of files that are being made.
pub(super) const UNFINISHED: &str = ".tmp";
/// The only file of a log of format 1.
const FORMAT_1: &str = "raft.redb";

/// Keeps others out until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone leaves the lock to a child that this process is about to start; and closing follows anyway.
        let _ = self.0.unlock();
    }
}

/// Makes the directory where it is missing, and takes it for this log alone as long as the answer lives.
pub(super) fn take(dir: &Path) -> Result<Lock, LogError> {
    let failed = |source| LogError::Open { path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    if dir.join(FORMAT_1).exists() {
        return Err(LogError::Format { found: 1, known: FORMAT });
    }
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK))
        .map_err(failed)?;
    lock.try_lock().map_err(|error| failed(error.into()))?;
    let lock = Lock(lock);
    sweep(dir, |name| name.ends_with(UNFINISHED)).map_err(failed)?;
    Ok(lock)
}

/// The numbers of the segments, in order.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        names(dir)?.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes the files that `goes` names. Those that a power cut brings back go the next time.
pub(super) fn sweep(dir: &Path, goes: impl Fn(&str) -> bool) -> io::Result<()> {
    names(dir)?
        .iter()
        .filter(|name| goes(name))
        .try_for_each(|name| fs::remove_file(dir.join(name)))
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    // A name that is no text is none of the log's.
    fs::read_dir(dir)?
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        .collect()
}

/// Makes the names in a directory survive a loss of power.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

//! What the log's writer need not wait for: filling the next segment with zeros, removing what is no longer needed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use super::directory::{UNFINISHED, sync_directory};
use super::segment;

/// The work under way; dropping it waits for its end, so that nothing changes in a directory whose log is closed.
#[derive(Debug)]
pub(super) struct Background {
    dir: PathBuf,
    blank: Option<(u64, JoinHandle<io::Result<()>>)>,
    removal: Option<JoinHandle<io::Result<()>>>,
}

impl Background {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), blank: None, removal: None }
    }

    /// Begins to fill a next segment of `size` bytes, unless that was done.
    pub(super) fn prepare(&mut self, size: u64) {
        if self.blank.is_none() {
            let path = self.blank_path();
            // Where no thread can be had, the segment is filled when it is needed.
            let thread = thread::Builder::new().name("raft-log".to_owned());
            let filling = thread.spawn(move || segment::fill(&path, size)).ok();
            self.blank = filling.map(|filling| (size, filling));
        }
    }

    /// A file of at least `size` zeros, prepared or made now.
    pub(super) fn blank(&mut self, size: u64) -> io::Result<PathBuf> {
        let path = self.blank_path();
        // A preparation that failed is tried again: the disk may have room now.
        let prepared = self
            .blank
            .take()
            .is_some_and(|(has, filling)| matches!(filling.join(), Ok(Ok(()))) && has >= size);
        if !prepared {
            segment::fill(&path, size)?;
        }
        Ok(path)
    }

    /// Removes files, each before the next, whatever happens to the power.
    pub(super) fn remove(&mut self, paths: Vec<PathBuf>) {
        // What failed was told, and is no worse than a removal that never began.
        let _ = self.settle();
        let dir = self.dir.clone();
        let remove = move || {
            paths.iter().try_for_each(|path| {
                fs::remove_file(path).and_then(|()| sync_directory(&dir)).inspect_err(|error| {
                    tracing::warn!(file = %path.display(), %error, "removing a part of the raft log");
                })
            })
        };
        // Where no thread can be had, the next start of the log is in no worse state.
        self.removal = thread::Builder::new().name("raft-log".to_owned()).spawn(remove).ok();
    }

    /// Waits until what was to be removed is gone, for good.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let Some(removal) = self.removal.take() else { return Ok(()) };
        let panicked = |_| Err(io::Error::other("removing parts of the raft log panicked"));
        removal.join().unwrap_or_else(panicked)
    }

    fn blank_path(&self) -> PathBuf {
        self.dir.join(format!("next{UNFINISHED}"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // What remains of it is removed at the next start.
        let _ = self.settle();
        if let Some((_, filling)) = self.blank.take() {
            // What it made is removed at the next start, whether it succeeded or not.
            let _ = filling.join();
        }
    }
}

//! Why a log cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with a log, and what to do where it is more than the system's refusal.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory could not be made or opened, or another process holds it.
    #[error("opening the raft log {}", path.display())]
    Open {
        /// The log's directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log was written by another version.
    #[error(
        "the raft log has format {found}, and this version reads format {known}: use the version that wrote it, or leave \
         the swarm with --force and join it anew"
    )]
    Format {
        /// The format found.
        found: u32,
        /// The format that is understood.
        known: u32,
    },
    /// A record does not match its checksum, or is missing: the disk or a hand changed the file.
    #[error(
        "the raft log is damaged at {place}: {why}. What was acknowledged may be missing, so it is not used, and nothing \
         was changed. Where other managers are left, leave the swarm with --force and join it anew; else restore a backup"
    )]
    Corrupt {
        /// The file, and where in it.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The member had a log, and there is none.
    #[error(
        "the raft log in {} is missing, and this manager had one. What was acknowledged may be missing, so the manager is \
         not started, and nothing was changed. Where other managers are left, leave the swarm with --force and join it \
         anew; else restore a backup", dir.display()
    )]
    Missing {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A sealed record could not be opened.
    #[error("unsealing {place} of the raft log")]
    Sealed {
        /// The file, and where in it.
        place: String,
        /// Why not.
        #[source]
        source: crate::sealer::SealError,
    },
    /// Reading or writing failed.
    #[error("{action} the raft log")]
    Storage {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How a place in a file is told.
pub(super) fn place(path: &Path, at: usize) -> String {
    format!("{} byte {at}", path.display())
}

/// A complaint about what stands at `at` in the file at `path`.
pub(super) fn corrupt(path: &Path, at: usize, why: impl Into<String>) -> LogError {
    LogError::Corrupt { place: place(path, at), why: why.into() }
}

/// Names what failed.
pub(super) fn storage(action: &'static str) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Storage { action, source }
}

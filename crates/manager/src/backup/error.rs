//! Why no backup was made, or none can be used, with what to do.

use std::io;
use std::path::PathBuf;

/// A failure or refusal, for users.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no state that all managers agree on.
    #[error("no consistent backup can be made now: {0}")]
    NoLeader(String),
    /// The signing key is not in the cluster's state.
    #[error(
        "a backup would not be enough for a new cluster: the key of the swarm's certificate authority is kept outside \
         of the swarm; stop a manager's daemon and copy the folder \"swarm\" of its data instead"
    )]
    ExternalCa,
    /// Encryption failed.
    #[error("the backup could not be encoded")]
    Seal,
    /// Not one of our files.
    #[error("this is not a backup of a swarm")]
    NotABackup,
    /// Made by a newer daemon.
    #[error(
        "the backup has format {found}, and this version reads format {known}: use the version that wrote it"
    )]
    Format {
        /// The format found.
        found: u32,
        /// The format that is understood.
        known: u32,
    },
    /// The end is missing.
    #[error("the backup is cut off: it has {found} bytes of {expected}")]
    Truncated {
        /// The bytes that there are.
        found: usize,
        /// The bytes that there should be.
        expected: u64,
    },
    /// The checksum does not match.
    #[error("the backup is damaged: it does not match its checksum; use another one")]
    Damaged,
    /// Encrypted, and no key was given.
    #[error(
        "the backup is encrypted: give its passphrase, or the swarm's unlock key, in a file with --key"
    )]
    KeyNeeded,
    /// Encrypted with another key.
    #[error("the backup does not open with this key")]
    WrongKey,
    /// The checksum matches, and the content is no cluster's state.
    #[error("the backup holds no swarm's state that this version understands")]
    Content,
    /// The certificate authority in it cannot be used.
    #[error("the certificate authority in the backup cannot be used: {0}")]
    Authority(#[source] swarm_ca::CaError),
    /// A file could not be written or read.
    #[error("{action} {}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

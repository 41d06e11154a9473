//! How a member is started.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::core::MemberOptions;
use crate::log::Position;
use crate::sealer::{Plain, Sealer};
use crate::wire::Peer;

/// SwarmKit's `SnapshotInterval`.
const SNAPSHOT_ENTRIES: u64 = 10_000;
/// SwarmKit's `LogEntriesForSlowFollowers`.
const KEEP_ENTRIES: u64 = 500;
/// Entries of a busy cluster are large: a follower so far behind is served as well by a snapshot.
const KEEP_BYTES: u64 = 8 << 20;
/// Bounds the memory and the disk that the log takes, whatever the size of its entries.
const SNAPSHOT_BYTES: u64 = 16 << 20;

/// A whole state, as a backup holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Its place in the log of the group that it was taken from: the new log goes on behind it.
    pub at: Position,
    /// What the state machine restores.
    pub body: Vec<u8>,
}

/// A member's settings.
#[derive(Clone)]
pub struct RaftConfig {
    /// Where the log lies; the member's own directory.
    pub dir: PathBuf,
    /// The core's settings, the member's raft ID among them.
    pub member: MemberOptions,
    /// The members of a new group, written when the log is empty; none to join a group or to go on.
    pub founders: Vec<Peer>,
    /// What is told about this member in a new group of its own, into which the log's group is turned before the member
    /// starts; none to go on with the group as it is.
    pub reform: Option<Vec<u8>>,
    /// A state of another group that an empty log begins with; none to begin with nothing.
    pub seed: Option<Seed>,
    /// Whether this member has written a log before: an empty one is refused then.
    pub must_go_on: bool,
    /// The length of a tick.
    pub tick: Duration,
    /// A snapshot is taken after so many entries.
    pub snapshot_entries: u64,
    /// And after so many bytes of entries.
    pub snapshot_bytes: u64,
    /// So many entries stay behind a snapshot, for followers that are a little behind.
    pub keep_entries: u64,
    /// But no more than so many bytes of them.
    pub keep_bytes: u64,
    /// Encrypts what is written.
    pub sealer: Arc<dyn Sealer>,
    /// What the member's thread does before all else, its priority for example.
    pub on_start: Option<fn()>,
}

impl RaftConfig {
    /// SwarmKit's settings with a tick of 100 ms; nothing encrypted, no founders.
    pub fn new(id: u64, dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            member: MemberOptions::new(id),
            founders: Vec::new(),
            reform: None,
            seed: None,
            must_go_on: false,
            tick: Duration::from_millis(100),
            snapshot_entries: SNAPSHOT_ENTRIES,
            snapshot_bytes: SNAPSHOT_BYTES,
            keep_entries: KEEP_ENTRIES,
            keep_bytes: KEEP_BYTES,
            sealer: Arc::new(Plain),
            on_start: None,
        }
    }

    /// The same, founding a group of this member alone.
    #[must_use]
    pub fn founding(mut self, context: Vec<u8>) -> Self {
        self.founders = vec![Peer { id: self.member.id, context }];
        self
    }

    /// The same, of a member that has a log: one that lost it would break the promises that stand in it.
    #[must_use]
    pub fn going_on(mut self) -> Self {
        self.must_go_on = true;
        self
    }

    /// The same, leaving all other members of the log's group behind; `context` is told about this one.
    #[must_use]
    pub fn reforming(mut self, context: Vec<u8>) -> Self {
        self.reform = Some(context);
        self
    }

    /// The same, beginning an empty log with this state; together with [`RaftConfig::reforming`].
    #[must_use]
    pub fn seeded(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }
}

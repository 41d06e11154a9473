//! The log on disk: a write-ahead log of segments, and snapshots beside it.
//!
//! A batch is one frame, written by one call at the end of the newest segment and flushed by another. Entries, hard
//! state, compaction and the name of a snapshot in it take effect together or not at all. Segments are dropped from
//! the oldest on, once compaction leaves nothing in them. Why a log of our own: docs/decisions/0001-log-storage.md.
//! Not here: the bytes ([`super::frame`], [`super::batch`]) and what may be wrong with them ([`super::recovery`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::Snapshot;

use super::background::Background;
use super::batch::{Encoder, SnapshotRef};
use super::directory::Lock;
use super::error::{LogError, storage};
use super::frame::frame_bytes;
use super::recovery::{self, Tail};
use super::segment::{self, HEADER_BYTES, Segment};
use super::{LogBatch, LogStore, Recovered, SnapshotWriter, directory, position, snapshot_file};
use crate::sealer::Sealer;

/// The size of a segment; half of what a member writes between two snapshots.
const SEGMENT_BYTES: u64 = 8 << 20;

/// A log in a directory of its own.
pub struct DiskLog {
    dir: PathBuf,
    sealer: Arc<dyn Sealer>,
    segment_bytes: u64,
    /// None until the log was read, and again once a write has failed and nobody knows what is on disk.
    tail: Option<Tail>,
    failed: bool,
    /// A snapshot that was written and that no record names yet.
    ahead: Arc<Mutex<Option<SnapshotRef>>>,
    background: Background,
    /// Held as long as the log is open; dropped last.
    _lock: Lock,
}

impl DiskLog {
    /// Opens the log in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`LogError`], when the directory cannot be used or the log has an unknown format.
    pub fn open(dir: &Path, sealer: Arc<dyn Sealer>) -> Result<Self, LogError> {
        Self::with_segments(dir, sealer, SEGMENT_BYTES)
    }

    /// As [`DiskLog::open`], with segments of this size in bytes.
    ///
    /// # Errors
    /// As [`DiskLog::open`].
    pub fn with_segments(
        dir: &Path,
        sealer: Arc<dyn Sealer>,
        segment_bytes: u64,
    ) -> Result<Self, LogError> {
        let lock = directory::take(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            sealer,
            segment_bytes,
            tail: None,
            failed: false,
            ahead: Arc::default(),
            background: Background::new(dir),
            _lock: lock,
        })
    }

    /// The file of the batch's snapshot, written here unless that was done ahead.
    fn snapshot(&self, snapshot: &Snapshot) -> Result<SnapshotRef, LogError> {
        let ahead = lock(&self.ahead).take_if(|ahead| ahead.at == position(snapshot));
        ahead.map_or_else(|| snapshot_file::write(&self.dir, self.sealer.as_ref(), snapshot), Ok)
    }

    fn append(&mut self, tail: &mut Tail, batch: LogBatch<'_>) -> Result<(), LogError> {
        let snapshot = batch.snapshot.map(|snapshot| self.snapshot(snapshot)).transpose()?;
        let mut body = self.body(tail, batch, snapshot);
        if body.is_empty() {
            return Ok(());
        }
        let fits = tail.segment.as_ref().is_some_and(|segment| segment.fits(body.len()));
        if !fits || batch.is_whole {
            self.roll(tail, body.len())?;
            body = self.body(tail, batch, snapshot);
        }
        let segment = tail.segment.as_mut().expect("made just now where there was none");
        segment.append(&body).map_err(storage("writing"))?;
        let is_half_full = segment.is_half_full();
        self.note(tail, batch, snapshot);
        if batch.is_whole {
            self.background.settle().map_err(storage("removing old parts of"))?;
        }
        if is_half_full {
            self.background.prepare(self.segment_bytes);
        }
        Ok(())
    }

    /// The sealed items of a batch; in a new segment the newest of everything else stands before them.
    fn body(&self, tail: &Tail, batch: LogBatch<'_>, snapshot: Option<SnapshotRef>) -> Vec<u8> {
        let mut encoder = Encoder::default();
        if tail.segment.as_ref().is_some_and(Segment::is_fresh) {
            tail.ledger.checkpoint(&mut encoder);
        }
        if let Some(state) = batch.hard_state {
            encoder.hard_state(state);
        }
        if let Some(snapshot) = snapshot {
            encoder.snapshot(snapshot);
        }
        if let Some(compact) = batch.compact {
            encoder.compact(compact);
        }
        batch.entries.iter().for_each(|entry| encoder.entry(entry));
        let plain = encoder.finish();
        if plain.is_empty() { plain } else { self.sealer.seal(plain) }
    }

    /// Goes on in a new segment that has room for a body of this length and what stands before it.
    fn roll(&mut self, tail: &mut Tail, body: usize) -> Result<(), LogError> {
        let needed = (HEADER_BYTES + frame_bytes(body + CHECKPOINT_BYTES)) as u64;
        let (number, previous) = tail
            .segment
            .as_ref()
            .map_or((1, 0), |segment| (segment.number() + 1, segment.previous()));
        let blank = self
            .background
            .blank(needed.max(self.segment_bytes))
            .map_err(storage("making room for"))?;
        let next = Segment::create(&self.dir, &blank, number, previous)
            .map_err(storage("making a new segment of"))?;
        if tail.segment.replace(next).is_some() {
            tail.ledger.close(number - 1);
        }
        Ok(())
    }

    /// Notes what was written, and drops what nothing needs any more.
    fn note(&mut self, tail: &mut Tail, batch: LogBatch<'_>, snapshot: Option<SnapshotRef>) {
        let ledger = &mut tail.ledger;
        let mut freed = Vec::new();
        if let Some(state) = batch.hard_state {
            ledger.hard_state = state.clone();
        }
        if let Some(snapshot) = snapshot {
            let before = std::mem::replace(&mut ledger.snapshot, snapshot);
            if before != snapshot && before != SnapshotRef::default() {
                freed.push(snapshot_file::path(&self.dir, before));
            }
        }
        if let Some(compact) = batch.compact {
            ledger.compact(compact);
            if batch.is_whole {
                ledger.supersede();
            }
            let segments = ledger.freed().into_iter();
            freed.extend(segments.map(|number| segment::path(&self.dir, number)));
        }
        batch.entries.iter().for_each(|entry| ledger.entry(entry.index));
        if !freed.is_empty() {
            self.background.remove(freed);
        }
    }
}

/// More than hard state, snapshot and compaction mark ever take, sealed or not.
const CHECKPOINT_BYTES: usize = 256;

impl LogStore for DiskLog {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let (recovered, tail) = recovery::recover(&self.dir, self.sealer.as_ref())?;
        self.tail = Some(tail);
        Ok(recovered)
    }

    fn write(&mut self, batch: LogBatch<'_>) -> Result<(), LogError> {
        if self.failed {
            let source =
                io::Error::other("a write failed before, and nobody knows what is on disk");
            return Err(LogError::Storage { action: "writing", source });
        }
        let mut tail = match self.tail.take() {
            Some(tail) => tail,
            None => recovery::recover(&self.dir, self.sealer.as_ref())?.1,
        };
        self.append(&mut tail, batch).inspect_err(|_| self.failed = true)?;
        self.tail = Some(tail);
        Ok(())
    }

    fn snapshot_writer(&self) -> SnapshotWriter {
        let (dir, sealer, ahead) = (self.dir.clone(), self.sealer.clone(), self.ahead.clone());
        Box::new(move |snapshot| {
            let written = snapshot_file::write(&dir, sealer.as_ref(), snapshot)?;
            *lock(&ahead) = Some(written);
            Ok(())
        })
    }
}

fn lock(ahead: &Mutex<Option<SnapshotRef>>) -> MutexGuard<'_, Option<SnapshotRef>> {
    ahead.lock().unwrap_or_else(PoisonError::into_inner)
}

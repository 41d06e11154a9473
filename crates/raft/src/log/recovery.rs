//! Reads a whole log: segments in order, frames in order, and at the end a write that was never acknowledged.
//!
//! Such a torn write is wiped. Anything else that is wrong refuses: what was acknowledged would be missing.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use raft::eraftpb::Entry;

use super::batch::{self, Item};
use super::directory;
use super::error::{LogError, corrupt, place, storage};
use super::frame::{self, Found};
use super::ledger::Ledger;
use super::segment::{self, HEADER_BYTES, Header, Segment};
use super::{Recovered, snapshot_file};
use crate::sealer::Sealer;

/// Where a log goes on.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) ledger: Ledger,
    /// None in a log that was never written.
    pub(super) segment: Option<Segment>,
}

/// What the log in `dir` holds, and where it goes on.
pub(super) fn recover(dir: &Path, sealer: &dyn Sealer) -> Result<(Recovered, Tail), LogError> {
    let numbers = directory::segments(dir).map_err(storage("listing"))?;
    let mut reader = Reader { sealer, ledger: Ledger::default(), entries: VecDeque::new() };
    let mut last: Option<Read> = None;
    for (n, number) in numbers.iter().enumerate() {
        let path = segment::path(dir, *number);
        let bytes = fs::read(&path).map_err(storage("reading"))?;
        let header = Header::read(&path, &bytes, *number)?;
        if let Some(before) = &last {
            before.must_precede(&header)?;
            reader.ledger.close(before.header.number);
        }
        let is_last = n + 1 == numbers.len();
        last = Some(reader.read(path, &bytes, header, is_last)?);
    }
    let Some(end) = last else {
        return Ok((Recovered::default(), Tail::default()));
    };
    let recovered = reader.finish(dir, &end)?;
    if end.torn > 0 {
        tracing::warn!(
            file = %end.path.display(), at = end.at, bytes = end.torn,
            "the raft log ends in a write that was not finished, and so not acknowledged: it is wiped"
        );
    }
    let segment = Segment::reopen(&end.path, end.header, end.at, end.previous, end.torn)
        .map_err(storage("reopening"))?;
    let ledger = reader.ledger;
    directory::sweep(dir, |name| snapshot_file::is_other(name, ledger.snapshot))
        .map_err(storage("tidying"))?;
    Ok((recovered, Tail { ledger, segment: Some(segment) }))
}

/// A segment that was read, and how it ends.
struct Read {
    path: PathBuf,
    header: Header,
    /// Where its frames end.
    at: usize,
    /// The checksum of its last frame.
    previous: u32,
    /// The bytes behind `at` that are not zero.
    torn: usize,
}

impl Read {
    fn must_precede(&self, next: &Header) -> Result<(), LogError> {
        if next.number != self.header.number + 1 {
            let missing = self.header.number + 1;
            return Err(corrupt(&self.path, self.at, format!("segment {missing} is missing")));
        }
        if next.previous != self.previous {
            return Err(corrupt(&self.path, self.at, "the last record is missing"));
        }
        Ok(())
    }
}

/// Follows the log from its first record to its last.
struct Reader<'a> {
    sealer: &'a dyn Sealer,
    ledger: Ledger,
    entries: VecDeque<Entry>,
}

impl Reader<'_> {
    fn read(
        &mut self,
        path: PathBuf,
        bytes: &[u8],
        header: Header,
        is_last: bool,
    ) -> Result<Read, LogError> {
        let (mut at, mut previous) = (HEADER_BYTES, header.checksum);
        loop {
            match frame::judge(bytes, at, header.salt, previous) {
                Found::Frame(found) => {
                    self.batch(&path, at, &bytes[found.body])?;
                    (at, previous) = (found.end, found.checksum);
                }
                Found::End => return Ok(Read { path, header, at, previous, torn: 0 }),
                Found::Torn if is_last => {
                    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(at, |last| last + 1);
                    return Ok(Read { path, header, at, previous, torn: end - at });
                }
                Found::Torn => {
                    return Err(corrupt(&path, at, "a record is not whole, and later ones follow"));
                }
                Found::Damaged(why) => return Err(corrupt(&path, at, why)),
            }
        }
    }

    fn batch(&mut self, path: &Path, at: usize, sealed: &[u8]) -> Result<(), LogError> {
        let plain = self
            .sealer
            .open(sealed)
            .map_err(|source| LogError::Sealed { place: place(path, at), source })?;
        let items = batch::decode(&plain)
            .ok_or_else(|| corrupt(path, at, "the record is not what this version writes"))?;
        items.into_iter().try_for_each(|item| self.item(item).map_err(|why| corrupt(path, at, why)))
    }

    fn item(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::HardState(state) => self.ledger.hard_state = state,
            Item::Snapshot(snapshot) => self.ledger.snapshot = snapshot,
            Item::Compact(compact) => {
                self.ledger.compact(compact);
                self.entries.retain(|entry| !compact.all && entry.index > compact.to.index);
            }
            Item::Entry(entry) => {
                self.ledger.entry(entry.index);
                while self.entries.back().is_some_and(|last| last.index >= entry.index) {
                    self.entries.pop_back();
                }
                // The first may have any index: segments before it were dropped, and with them what was compacted.
                if let Some(last) = self.entries.back()
                    && last.index + 1 != entry.index
                {
                    return Err(format!("entry {} is missing", last.index + 1));
                }
                self.entries.push_back(entry);
            }
        }
        Ok(())
    }

    /// Checks that what is left is a whole log.
    fn finish(&mut self, dir: &Path, end: &Read) -> Result<Recovered, LogError> {
        let wrong = |why| Err(corrupt(&end.path, end.at, why));
        let (compacted, commit) = (self.ledger.compacted, self.ledger.hard_state.commit);
        // Dropped by the compaction of a segment's start only.
        self.entries.retain(|entry| entry.index > compacted.index);
        if let Some(first) = self.entries.front()
            && first.index != compacted.index + 1
        {
            return wrong(format!("entry {} is missing", compacted.index + 1));
        }
        let last = compacted.index + self.entries.len() as u64;
        if commit > last {
            return wrong(format!("entry {commit} was committed, and {last} is the last"));
        }
        if self.ledger.snapshot.at.index < compacted.index {
            return wrong(format!("no snapshot stands for entry {}", compacted.index));
        }
        let snapshot = snapshot_file::read(dir, self.sealer, self.ledger.snapshot)?;
        Ok(Recovered {
            hard_state: self.ledger.hard_state.clone(),
            snapshot,
            compacted,
            entries: std::mem::take(&mut self.entries).into(),
        })
    }
}

//! One suite for both logs, and what a disk can do to the real one.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use raft::eraftpb::{Entry, HardState, Snapshot};
use redb::{Database, StorageBackend};

use super::{Compact, DiskLog, LogBatch, LogError, LogStore, MemoryLog, Position, Recovered};
use crate::sealer::Plain;

fn entry(index: u64, term: u64, body: &[u8]) -> Entry {
    Entry { index, term, data: body.to_vec().into(), ..Entry::default() }
}

fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    range.map(|index| entry(index, term, format!("body of {index} in {term}").as_bytes())).collect()
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term, vote: 3, commit, ..HardState::default() }
}

fn snapshot(index: u64, term: u64) -> Snapshot {
    let mut snapshot = Snapshot { data: b"the whole state".to_vec().into(), ..Snapshot::default() };
    snapshot.mut_metadata().index = index;
    snapshot.mut_metadata().term = term;
    snapshot.mut_metadata().mut_conf_state().voters = vec![1, 2];
    snapshot
}

fn open(dir: &Path) -> Result<DiskLog, LogError> {
    DiskLog::open(dir, Arc::new(Plain))
}

fn recover(dir: &Path) -> Result<Recovered, LogError> {
    open(dir)?.recover()
}

/// Writes each batch to both logs, opening the one on disk anew each time.
fn check(batches: &[LogBatch<'_>], indexes: &[u64]) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut memory = MemoryLog::default();
    assert!(recover(dir.path()).expect("opens").is_empty());
    for batch in batches {
        open(dir.path()).expect("opens").write(*batch).expect("writes");
        memory.write(*batch).expect("writes");
        let recovered = recover(dir.path()).expect("is sound");
        assert_eq!(recovered, memory.recover().expect("memory"));
    }
    let found: Vec<u64> =
        recover(dir.path()).expect("is sound").entries.iter().map(|entry| entry.index).collect();
    assert_eq!(found, indexes);
}

#[test]
fn a_log_gives_back_what_was_written() {
    let (first, second) = (entries(1..6, 1), entries(4..8, 2));
    let (early, late) = (state(1, 3), state(2, 7));
    let append = LogBatch { entries: &first, hard_state: Some(&early), ..LogBatch::default() };
    let overwrite = LogBatch { entries: &second, hard_state: Some(&late), ..LogBatch::default() };
    let own = snapshot(6, 2);
    let compact = Some(Compact { to: Position { index: 5, term: 2 }, all: false });
    let compaction = LogBatch { snapshot: Some(&own), compact, ..LogBatch::default() };
    let leaders = snapshot(100, 9);
    let (after, all) =
        (state(9, 100), Some(Compact { to: Position { index: 100, term: 9 }, all: true }));
    let replaced = LogBatch {
        snapshot: Some(&leaders),
        hard_state: Some(&after),
        compact: all,
        ..LogBatch::default()
    };
    let third = entries(101..103, 9);
    let go_on = LogBatch { entries: &third, ..LogBatch::default() };

    check(&[append], &[1, 2, 3, 4, 5]);
    check(&[append, overwrite], &[1, 2, 3, 4, 5, 6, 7]);
    check(&[append, overwrite, compaction], &[6, 7]);
    check(&[append, overwrite, compaction, replaced, go_on], &[101, 102]);
}

/// A log of twenty entries with bodies that can be found in the file.
fn written() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let all = entries(1..21, 1);
    let committed = state(1, 20);
    let batch = LogBatch { entries: &all, hard_state: Some(&committed), ..LogBatch::default() };
    open(dir.path()).expect("opens").write(batch).expect("writes");
    let file = dir.path().join("raft.redb");
    (dir, file)
}

#[test]
fn a_flipped_bit_refuses_to_open() {
    for index in [1, 7, 20] {
        let (dir, file) = written();
        let mut bytes = fs::read(&file).expect("reads");
        let body = format!("body of {index} in 1");
        let places: Vec<usize> = (0..bytes.len() - body.len())
            .filter(|at| bytes[*at..].starts_with(body.as_bytes()))
            .collect();
        assert!(!places.is_empty());
        places.iter().for_each(|at| bytes[*at] ^= 4);
        fs::write(&file, bytes).expect("writes");
        let error = recover(dir.path()).expect_err("is damaged");
        assert!(
            matches!(&error, LogError::Corrupt { place, .. } if *place == format!("entry {index}")),
            "{error}"
        );
    }
}

#[test]
fn a_shortened_file_refuses_to_open() {
    let (dir, file) = written();
    let length = fs::metadata(&file).expect("is there").len();
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .expect("opens")
        .set_len(length / 2)
        .expect("shortens");
    assert!(recover(dir.path()).is_err());
}

#[test]
fn a_missing_committed_tail_refuses_to_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let (all, ahead) = (entries(1..4, 1), state(1, 9));
    let batch = LogBatch { entries: &all, hard_state: Some(&ahead), ..LogBatch::default() };
    open(dir.path()).expect("opens").write(batch).expect("writes");
    assert!(matches!(recover(dir.path()), Err(LogError::Corrupt { .. })));
}

#[test]
fn a_gap_refuses_to_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let gapped = [entry(1, 1, b"one"), entry(3, 1, b"three")];
    open(dir.path())
        .expect("opens")
        .write(LogBatch { entries: &gapped, ..LogBatch::default() })
        .expect("writes");
    assert!(
        matches!(recover(dir.path()), Err(LogError::Corrupt { place, .. }) if place == "entry 2")
    );
}

#[test]
fn a_newer_format_refuses_to_open() {
    let (dir, file) = written();
    let database = Database::open(&file).expect("opens");
    let transaction = database.begin_write().expect("begins");
    {
        let mut meta = transaction.open_table(super::disk::META).expect("opens");
        meta.insert("format", 2u32.to_le_bytes().as_slice()).expect("writes");
    }
    transaction.commit().expect("commits");
    drop(database);
    assert!(matches!(recover(dir.path()), Err(LogError::Format { found: 2, known: 1 })));
}

/// A disk whose power can go: what was written since the last flush may be there, in part, or not.
#[derive(Debug, Clone, Default)]
struct Disk {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    flushed: Vec<u8>,
    seen: Vec<u8>,
    unflushed: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    fn with<R>(&self, work: impl FnOnce(&mut Content) -> R) -> R {
        work(&mut self.content.lock().expect("not poisoned"))
    }

    /// What a restart finds when power goes now; `dice` decides about each sector that was not flushed.
    fn after_power_cut(&self, mut dice: impl FnMut() -> bool) -> Self {
        const SECTOR_BYTES: usize = 512;
        let mut found = self.with(|content| content.clone());
        let mut image = found.flushed;
        image.resize(found.seen.len().max(image.len()), 0);
        for (offset, data) in found.unflushed.drain(..) {
            for (n, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                let at = offset + n * SECTOR_BYTES;
                if dice() && at + sector.len() <= image.len() {
                    image[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        let content = Content { flushed: image.clone(), seen: image, unflushed: Vec::new() };
        Self { content: Arc::new(Mutex::new(content)) }
    }

    fn log(&self) -> Result<DiskLog, LogError> {
        let database = Database::builder().create_with_backend(self.clone());
        let failed = |source: redb::DatabaseError| LogError::Open {
            path: "simulated".into(),
            source: source.into(),
        };
        DiskLog::over(database.map_err(failed)?, Arc::new(Plain))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|content| content.seen.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|content| {
            let bytes = content.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.with(|content| content.seen.resize(length, 0));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|content| {
            content.flushed = content.seen.clone();
            content.unflushed.clear();
        });
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|content| {
            content.seen[at..at + data.len()].copy_from_slice(data);
            content.unflushed.push((at, data.to_vec()));
        });
        Ok(())
    }
}

/// Power goes after every write that the library makes, with a random part of what was not flushed lost.
#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let mut random = 88_172_645_463_325_252_u64;
    let mut dice = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.is_multiple_of(2)
    };
    let disk = Disk::default();
    let mut log = disk.log().expect("opens");
    for index in 1..60 {
        let before = disk.with(|content| content.clone());
        let (batch, committed) = (entries(index..index + 1, 1), state(1, index - 1));
        log.write(LogBatch {
            entries: &batch,
            hard_state: Some(&committed),
            ..LogBatch::default()
        })
        .expect("writes");
        // The writes of this batch, as the disk saw them: the flush came last, so take them as not flushed.
        let after = disk.with(|content| content.clone());
        let torn = Disk::default();
        let changed = changed_sectors(&before.seen, &after.seen);
        torn.with(|content| {
            *content = Content {
                flushed: before.flushed.clone(),
                seen: after.seen.clone(),
                unflushed: changed,
            };
        });
        for (disk, acknowledged) in [(&disk, index), (&torn, index - 1)] {
            let found = disk
                .after_power_cut(&mut dice)
                .log()
                .and_then(|mut log| log.recover())
                .expect("is sound");
            let last = found.entries.last().map_or(0, |entry| entry.index);
            assert!(
                last == index || last == acknowledged,
                "{acknowledged} of {index} acknowledged, found {last}"
            );
        }
    }
}

fn changed_sectors(before: &[u8], after: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let sectors = after.chunks(512).enumerate().map(|(n, sector)| (n * 512, sector));
    sectors
        .filter(|(at, sector)| before.get(*at..at + sector.len()) != Some(*sector))
        .map(|(at, sector)| (at, sector.to_vec()))
        .collect()
}

//! One suite for both logs here; what a disk, a hand or a loss of power can do to the real one in the rooms below.

mod damage;
mod flips;
mod frames;
mod growth;
mod kill;
mod power;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft::eraftpb::{Entry, HardState, Snapshot};

use super::{Compact, DiskLog, LogBatch, LogError, LogStore, MemoryLog, Position, Recovered};
use crate::sealer::{Plain, SealError, Sealer};

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

/// Segments so small that a few batches fill them.
const SMALL_BYTES: u64 = 4096;

fn open_small(dir: &Path) -> DiskLog {
    DiskLog::with_segments(dir, Arc::new(Plain), SMALL_BYTES).expect("opens")
}

fn recover(dir: &Path) -> Result<Recovered, LogError> {
    open(dir)?.recover()
}

/// The names of the files whose names have this part, in order.
fn files(dir: &Path, part: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .expect("lists")
        .map(|entry| entry.expect("lists").path())
        .filter(|path| path.to_string_lossy().contains(part))
        .collect();
    found.sort();
    found
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a directory");
    for path in
        files(from, "").iter().filter(|path| path.extension().is_none_or(|end| end != "tmp"))
    {
        fs::copy(path, to.path().join(path.file_name().expect("has a name"))).expect("copies");
    }
    to
}

fn indexes(recovered: &Recovered) -> Vec<u64> {
    recovered.entries.iter().map(|entry| entry.index).collect()
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

#[test]
fn a_batch_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let large = [entry(1, 1, &vec![7; 3 * usize::try_from(SMALL_BYTES).expect("small")])];
    let after = entries(2..4, 1);
    let mut log = open_small(dir.path());
    for entries in [&large[..], &after[..]] {
        log.write(LogBatch { entries, ..LogBatch::default() }).expect("writes");
    }
    drop(log);
    assert_eq!(indexes(&recover(dir.path()).expect("is sound")), [1, 2, 3]);
}

#[test]
fn nothing_is_readable_by_others_and_one_log_at_a_time_has_the_directory() {
    let base = tempfile::tempdir().expect("a directory");
    let dir = base.path().join("raft");
    let mut log = open(&dir).expect("opens");
    let (all, taken) = (entries(1..4, 1), snapshot(2, 1));
    let batch = LogBatch { entries: &all, snapshot: Some(&taken), ..LogBatch::default() };
    log.write(batch).expect("writes");
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(files(&dir, "").len(), 3, "a segment, a snapshot, the lock");
    files(&dir, "").iter().for_each(|path| assert_eq!(mode(path), 0o600, "{}", path.display()));
    assert!(matches!(open(&dir), Err(LogError::Open { .. })));
    drop(log);
    assert!(open(&dir).is_ok());
}

/// Not a cipher: enough to see that everything passes through it.
struct Shift(u8);

impl Sealer for Shift {
    fn seal(&self, plain: Vec<u8>) -> Vec<u8> {
        std::iter::once(self.0).chain(plain.iter().map(|byte| byte.wrapping_add(self.0))).collect()
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        match sealed.split_first() {
            Some((key, body)) if *key == self.0 => {
                Ok(body.iter().map(|byte| byte.wrapping_sub(self.0)).collect())
            }
            _ => Err(SealError::UnknownKey),
        }
    }
}

#[test]
fn everything_is_sealed() {
    let dir = tempfile::tempdir().expect("a directory");
    let sealed = |key| DiskLog::open(dir.path(), Arc::new(Shift(key))).expect("opens");
    let (all, taken) = (entries(1..4, 1), snapshot(2, 1));
    let batch = LogBatch { entries: &all, snapshot: Some(&taken), ..LogBatch::default() };
    sealed(3).write(batch).expect("writes");
    for path in files(dir.path(), "") {
        let bytes = fs::read(&path).expect("reads");
        for plain in [&b"body of"[..], b"the whole state"] {
            assert!(!bytes.windows(plain.len()).any(|part| part == plain), "{}", path.display());
        }
    }
    let found = sealed(3).recover().expect("is sound");
    assert_eq!((found.entries, found.snapshot), (all, taken));
    assert!(matches!(sealed(4).recover(), Err(LogError::Sealed { .. })));
}

/// Seals with the last key, opens with all.
struct Shifts(Vec<u8>);

impl Sealer for Shifts {
    fn seal(&self, plain: Vec<u8>) -> Vec<u8> {
        Shift(*self.0.last().expect("a key")).seal(plain)
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let opened = self.0.iter().find_map(|key| Shift(*key).open(sealed).ok());
        opened.ok_or(SealError::UnknownKey)
    }
}

#[test]
fn a_whole_batch_leaves_nothing_of_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let (all, taken) = (entries(1..9, 1), snapshot(4, 1));
    let state = HardState { term: 1, commit: 6, ..HardState::default() };
    let batch = LogBatch {
        entries: &all,
        hard_state: Some(&state),
        snapshot: Some(&taken),
        ..LogBatch::default()
    };
    let open = |keys: &[u8]| DiskLog::open(dir.path(), Arc::new(Shifts(keys.to_vec())));
    open(&[3]).expect("opens").write(batch).expect("writes");
    let mut log = open(&[3, 4]).expect("opens");
    log.recover().expect("the old key is known");
    let compact = Some(Compact { to: Position { index: 2, term: 1 }, all: false });
    let again = LogBatch {
        entries: &all[2..],
        snapshot: Some(&taken),
        compact,
        is_whole: true,
        ..LogBatch::default()
    };
    log.write(again).expect("writes");
    drop(log);
    let found = open(&[4]).expect("opens").recover().expect("only the new key is needed");
    assert_eq!(found.hard_state, state);
    assert_eq!((found.entries, found.snapshot), (all[2..].to_vec(), taken));
    assert_eq!(files(dir.path(), "").len(), 3, "a segment, a snapshot, the lock");
}

//! Segments come and go: roll-over, compaction, what a new segment repeats, snapshots ahead of their record, a full disk.

use super::*;

fn append(log: &mut DiskLog, index: u64) {
    let (batch, committed) = ([entry(index, 2, &[7; 300])], state(2, index));
    log.write(LogBatch { entries: &batch, hard_state: Some(&committed), ..LogBatch::default() })
        .expect("writes");
}

fn compact(log: &mut DiskLog, to: u64) {
    let (taken, to) = (snapshot(to, 2), Position { index: to, term: 2 });
    let compact = Some(Compact { to, all: false });
    log.write(LogBatch { snapshot: Some(&taken), compact, ..LogBatch::default() }).expect("writes");
}

#[test]
fn compaction_frees_files_and_keeps_what_is_needed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_small(dir.path());
    for index in 1..501 {
        append(&mut log, index);
        if index % 50 == 0 {
            compact(&mut log, index - 10);
        }
        if index % 97 == 0 {
            drop(log);
            log = open_small(dir.path());
            let found = log.recover().expect("is sound");
            assert_eq!(found.compacted.index, (index / 50 * 50).saturating_sub(10));
            assert_eq!(found.hard_state, state(2, index));
            assert_eq!(indexes(&found), (found.compacted.index + 1..=index).collect::<Vec<_>>());
        }
    }
    drop(log);
    assert!(files(dir.path(), ".wal").len() <= 3, "{:?}", files(dir.path(), ".wal"));
    assert_eq!(files(dir.path(), "snapshot-").len(), 1);
    let found = recover(dir.path()).expect("is sound");
    assert_eq!((found.snapshot, found.compacted.index), (snapshot(490, 2), 490));
}

#[test]
fn a_leaders_snapshot_frees_what_it_replaces() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_small(dir.path());
    (1..101).for_each(|index| append(&mut log, index));
    let (leaders, committed) = (snapshot(60, 3), state(3, 60));
    let all = Some(Compact { to: Position { index: 60, term: 3 }, all: true });
    let replaced = LogBatch {
        snapshot: Some(&leaders),
        hard_state: Some(&committed),
        compact: all,
        ..LogBatch::default()
    };
    log.write(replaced).expect("writes");
    drop(log);
    assert_eq!(files(dir.path(), ".wal").len(), 1);
    let mut log = open_small(dir.path());
    assert_eq!(indexes(&log.recover().expect("is sound")), Vec::<u64>::new());
    append(&mut log, 61);
    assert_eq!(indexes(&log.recover().expect("is sound")), [61]);
}

#[test]
fn a_snapshot_written_ahead_is_named_by_its_batch_or_swept_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_small(dir.path());
    (1..5).for_each(|index| append(&mut log, index));
    for (index, named) in [(3, true), (4, false)] {
        let ahead = snapshot(index, 2);
        std::thread::scope(|scope| {
            let write = log.snapshot_writer();
            scope.spawn(move || write(&ahead).expect("writes"));
        });
        if named {
            let before = files(dir.path(), "snapshot-");
            compact(&mut log, index);
            assert_eq!(files(dir.path(), "snapshot-"), before, "it is not written again");
        }
    }
    drop(log);
    assert_eq!(files(dir.path(), "snapshot-").len(), 2);
    assert_eq!(recover(dir.path()).expect("is sound").snapshot, snapshot(3, 2));
    assert_eq!(files(dir.path(), "snapshot-").len(), 1);
}

/// A directory stands where the next segment would be filled, so that making it fails, as on a full disk.
#[test]
fn a_segment_that_cannot_be_made_acknowledges_nothing_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_small(dir.path());
    append(&mut log, 1);
    let obstacle = dir.path().join("next.tmp");
    fs::create_dir(&obstacle).expect("makes");
    let mut acknowledged = 1;
    let large = [entry(2, 2, &[7; 300])];
    let failed = loop {
        let batch = [Entry { index: acknowledged + 1, ..large[0].clone() }];
        match log.write(LogBatch { entries: &batch, ..LogBatch::default() }) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, LogError::Storage { .. }), "{failed}");
    let again = log.write(LogBatch { entries: &large, ..LogBatch::default() });
    assert!(again.is_err(), "it goes on failing");
    drop(log);
    fs::remove_dir(&obstacle).expect("removes");
    let found = recover(dir.path()).expect("is sound");
    assert_eq!(indexes(&found), (1..=acknowledged).collect::<Vec<_>>());
}

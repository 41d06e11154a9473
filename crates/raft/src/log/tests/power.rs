//! Loss of power: whatever part of the last write reached the disk, nothing that was acknowledged before is missing.

use super::*;

/// The sectors that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// Xorshift: each run replays exactly.
pub(super) fn dice(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |sides| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % sides
    }
}

/// A batch of one to three entries, or one that compacts, or one that overwrites; and the index of its last entry.
pub(super) fn write_some(log: &mut DiskLog, last: u64, dice: &mut impl FnMut(u64) -> u64) -> u64 {
    let from = last + 1 - u64::from(last > 3 && dice(5) == 0);
    let batch: Vec<Entry> = (from..from + 1 + dice(3))
        .map(|index| entry(index, 1, &vec![7; 1 + usize::try_from(dice(900)).expect("small")]))
        .collect();
    let committed = state(1, from - 1);
    let taken = snapshot(from - 1, 1);
    let compact =
        (dice(7) == 0).then_some(Compact { to: Position { index: from - 1, term: 1 }, all: false });
    log.write(LogBatch {
        entries: &batch,
        hard_state: Some(&committed),
        snapshot: compact.map(|_| &taken),
        compact,
        ..LogBatch::default()
    })
    .expect("writes");
    from + batch.len() as u64 - 1
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    for seed in 1..6 {
        let mut dice = dice(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let dir = tempfile::tempdir().expect("a directory");
        let mut last = 0;
        for _ in 0..40 {
            let before = copy(dir.path());
            let acknowledged = open_small(before.path()).recover().expect("is sound");
            last = write_some(&mut open_small(dir.path()), last, &mut dice);
            let whole = copy(dir.path());
            let expected = open_small(whole.path()).recover().expect("is sound");
            assert_eq!(expected.entries.last().map(|entry| entry.index), Some(last));
            // The newest segment's new sectors: each reached the disk, or not.
            let torn = copy(dir.path());
            let newest = files(torn.path(), ".wal").pop().expect("has one");
            let old = fs::read(before.path().join(newest.file_name().expect("has a name")))
                .unwrap_or_default();
            let mut found = fs::read(&newest).expect("reads");
            // A new segment has its header before it has its name.
            let header = super::super::segment::HEADER_BYTES;
            for at in (0..found.len()).step_by(SECTOR_BYTES) {
                if dice(2) == 0 {
                    for at in at.max(header)..(at + SECTOR_BYTES).min(found.len()) {
                        found[at] = old.get(at).copied().unwrap_or_default();
                    }
                }
            }
            fs::write(&newest, found).expect("writes");
            // Files that the batch freed may be gone or not; a snapshot is there before its record.
            for path in
                files(before.path(), ".wal").iter().chain(&files(before.path(), "snapshot-"))
            {
                let there = torn.path().join(path.file_name().expect("has a name"));
                if !there.exists() {
                    fs::copy(path, there).expect("copies");
                }
            }
            let mut log = open_small(torn.path());
            let recovered = log.recover().expect("is sound");
            assert!(
                recovered == expected || recovered == acknowledged,
                "seed {seed}: {:?} is neither {:?} nor {:?}",
                indexes(&recovered),
                indexes(&expected),
                indexes(&acknowledged)
            );
            // It goes on as if nothing had been there.
            let last = recovered.compacted.index + recovered.entries.len() as u64;
            let last = write_some(&mut log, last, &mut dice);
            drop(log);
            let found = recover(torn.path()).expect("is sound");
            assert_eq!(found.compacted.index + found.entries.len() as u64, last);
        }
    }
}

#[test]
fn a_write_that_stopped_at_any_byte_is_wiped() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_small(dir.path());
    let (first, second, committed) = (entries(1..4, 1), entries(4..9, 1), state(1, 3));
    log.write(LogBatch { entries: &first, hard_state: Some(&committed), ..LogBatch::default() })
        .expect("writes");
    let begins = fs::read(&files(dir.path(), ".wal")[0])
        .expect("reads")
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("has a record")
        + 1;
    log.write(LogBatch { entries: &second, ..LogBatch::default() }).expect("writes");
    drop(log);
    let path = files(dir.path(), ".wal").swap_remove(0);
    let whole = fs::read(&path).expect("reads");
    let end = whole.iter().rposition(|byte| *byte != 0).expect("has records") + 1;
    for stop in begins..end {
        let mut stopped = whole.clone();
        stopped[stop..].fill(0);
        fs::write(&path, stopped).expect("writes");
        let found = open_small(dir.path()).recover().expect("is sound");
        // Behind the body are at most 15 zeros and the mark, which nothing depends on.
        if stop + 16 >= end && indexes(&found).len() == 8 {
            continue;
        }
        assert_eq!(indexes(&found), [1, 2, 3], "stopped at {stop}");
        let wiped = fs::read(&path).expect("reads");
        assert!(wiped[begins..].iter().all(|byte| *byte == 0));
    }
}

/// A kill between the steps of a roll-over: the next segment is half made, or made and empty.
#[test]
fn a_roll_over_that_stopped_is_gone_on_with() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_small(dir.path());
    let mut last = 0;
    while files(dir.path(), ".wal").len() < 2 {
        let batch = [entry(last + 1, 1, &[7; 500])];
        log.write(LogBatch { entries: &batch, ..LogBatch::default() }).expect("writes");
        last += 1;
    }
    drop(log);
    let newest = files(dir.path(), ".wal").swap_remove(1);
    let mut empty = fs::read(&newest).expect("reads");
    empty[super::super::segment::HEADER_BYTES..].fill(0);
    fs::write(&newest, &empty).expect("writes");
    fs::write(dir.path().join("next.tmp"), b"half").expect("writes");
    for index in [last, last + 1] {
        let mut log = open_small(dir.path());
        assert_eq!(indexes(&log.recover().expect("is sound")), (1..index).collect::<Vec<_>>());
        let batch = [entry(index, 1, b"again")];
        log.write(LogBatch { entries: &batch, ..LogBatch::default() }).expect("writes");
    }
    assert!(files(dir.path(), "next").is_empty());
    assert_eq!(files(dir.path(), ".wal").len(), 2);
}

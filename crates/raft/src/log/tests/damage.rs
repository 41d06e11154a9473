//! What a hand or an ageing disk does to a log: it is refused, with the place and what to do.

use super::*;

/// What is done to a directory that holds a log.
type Harm = Box<dyn Fn(&Path)>;

/// Three segments or more with 40 entries, each committed by the one after, and a snapshot.
fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_small(dir.path());
    for index in 1..41 {
        let (batch, committed, taken) = (
            [entry(index, 1, format!("body of {index} in 1 {}", "x".repeat(200)).as_bytes())],
            state(1, index - 1),
            snapshot(index, 1),
        );
        let snapshot = (index == 4).then_some(&taken);
        log.write(LogBatch {
            entries: &batch,
            hard_state: Some(&committed),
            snapshot,
            ..LogBatch::default()
        })
        .expect("writes");
    }
    drop(log);
    assert!(files(dir.path(), ".wal").len() >= 3);
    dir
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("reads");
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("writes");
}

/// Changes a bit of this entry's body, wherever it stands.
fn flip_entry(dir: &Path, index: u64) {
    let body = format!("body of {index} in 1");
    for path in files(dir, ".wal") {
        let bytes = fs::read(&path).expect("reads");
        if let Some(at) = bytes.windows(body.len()).position(|part| part == body.as_bytes()) {
            return flip(&path, at);
        }
    }
    panic!("entry {index} is nowhere");
}

fn cut(path: &Path, length: impl Fn(u64) -> u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
    let now = file.metadata().expect("is there").len();
    file.set_len(length(now)).expect("cuts");
}

/// Wipes the last so many bytes of what the file holds.
fn wipe_end(path: &Path, length: usize) {
    let mut bytes = fs::read(path).expect("reads");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("has records") + 1;
    bytes[end - length..end].fill(0);
    fs::write(path, bytes).expect("writes");
}

fn wal(n: usize) -> impl Fn(&Path) -> PathBuf {
    move |dir| files(dir, ".wal").swap_remove(n)
}

#[test]
fn a_log_that_was_changed_is_refused() {
    let cases: Vec<(&str, &str, Harm)> = vec![
        ("00000001.wal", "checksum", Box::new(|dir| flip_entry(dir, 1))),
        ("00000002.wal", "checksum", Box::new(|dir| flip_entry(dir, 17))),
        (".wal", "checksum", Box::new(|dir| flip_entry(dir, 39))),
        // The last entry: nothing follows it, and still a lost write looks different.
        (".wal", "checksum", Box::new(|dir| flip_entry(dir, 40))),
        ("00000002.wal", "header", Box::new(|dir| flip(&wal(1)(dir), 20))),
        (
            "00000001.wal",
            "is missing",
            Box::new(|dir| fs::remove_file(wal(1)(dir)).expect("removes")),
        ),
        (
            ".wal",
            "entry 1 is missing",
            Box::new(|dir| fs::remove_file(wal(0)(dir)).expect("removes")),
        ),
        (
            "00000002.wal",
            "another segment",
            Box::new(|dir| drop(fs::copy(wal(0)(dir), wal(1)(dir)))),
        ),
        ("00000001.wal", "later ones follow", Box::new(|dir| wipe_end(&wal(0)(dir), 50))),
        ("00000001.wal", "last record is missing", Box::new(|dir| wipe_end(&wal(0)(dir), 256))),
        ("00000001.wal", "size", Box::new(|dir| cut(&wal(0)(dir), |length| length - 1))),
        ("00000001.wal", "too short", Box::new(|dir| cut(&wal(0)(dir), |_| 0))),
        ("snapshot-", "checksum", Box::new(|dir| flip(&files(dir, "snapshot-")[0], 30))),
        ("snapshot-", "header", Box::new(|dir| flip(&files(dir, "snapshot-")[0], 9))),
        ("snapshot-", "too short", Box::new(|dir| cut(&files(dir, "snapshot-")[0], |_| 3))),
        (
            "snapshot-",
            "checksum",
            Box::new(|dir| cut(&files(dir, "snapshot-")[0], |length| length - 1)),
        ),
        (
            "snapshot-",
            "missing",
            Box::new(|dir| fs::remove_file(&files(dir, "snapshot-")[0]).expect("removes")),
        ),
    ];
    let written = written();
    assert_eq!(recover(written.path()).expect("is sound").entries.len(), 40);
    for (file, reason, harm) in cases {
        let dir = copy(written.path());
        harm(dir.path());
        let before: Vec<Vec<u8>> =
            files(dir.path(), "").iter().map(|path| fs::read(path).expect("reads")).collect();
        let error = recover(dir.path()).expect_err(reason);
        let LogError::Corrupt { place, why } = &error else { panic!("{error}") };
        assert!(place.contains(file) && place.contains(" byte "), "{place} for {reason}");
        assert!(why.contains(reason), "{why} for {reason}");
        assert!(
            error
                .to_string()
                .contains("leave the swarm with --force and join it anew; else restore a backup")
        );
        let after: Vec<Vec<u8>> =
            files(dir.path(), "").iter().map(|path| fs::read(path).expect("reads")).collect();
        assert!(before == after, "a log that is refused is left as it is");
    }
}

#[test]
fn a_missing_committed_tail_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (all, ahead) = (entries(1..4, 1), state(1, 9));
    let batch = LogBatch { entries: &all, hard_state: Some(&ahead), ..LogBatch::default() };
    open(dir.path()).expect("opens").write(batch).expect("writes");
    let error = recover(dir.path()).expect_err("is damaged");
    assert!(error.to_string().contains("entry 9 was committed, and 3 is the last"), "{error}");
}

#[test]
fn a_torn_write_of_something_committed_is_refused_and_not_wiped() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).expect("opens");
    let (first, second, ahead) = (entries(1..4, 1), entries(4..5, 1), state(1, 4));
    log.write(LogBatch { entries: &first, hard_state: Some(&ahead), ..LogBatch::default() })
        .expect("writes");
    log.write(LogBatch { entries: &second, ..LogBatch::default() }).expect("writes");
    drop(log);
    let path = &files(dir.path(), ".wal")[0];
    let mut bytes = fs::read(path).expect("reads");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("has records") + 1;
    bytes[end - 24..].fill(0);
    fs::write(path, &bytes).expect("writes");
    for _ in 0..2 {
        assert!(matches!(recover(dir.path()), Err(LogError::Corrupt { .. })));
    }
}

#[test]
fn a_gap_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let gapped = [entry(1, 1, b"one"), entry(3, 1, b"three")];
    open(dir.path())
        .expect("opens")
        .write(LogBatch { entries: &gapped, ..LogBatch::default() })
        .expect("writes");
    let error = recover(dir.path()).expect_err("is damaged");
    assert!(error.to_string().contains("entry 2 is missing"), "{error}");
}

#[test]
fn another_format_is_refused() {
    let newer = |dir: &Path| {
        let path = &files(dir, ".wal")[0];
        let mut bytes = fs::read(path).expect("reads");
        bytes[8] = 3;
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        fs::write(path, bytes).expect("writes");
    };
    let older = |dir: &Path| fs::write(dir.join("raft.redb"), b"redb").expect("writes");
    let cases: [(u32, Harm); 2] = [(3, Box::new(newer)), (1, Box::new(older))];
    let written = written();
    for (expected, harm) in cases {
        let dir = copy(written.path());
        harm(dir.path());
        let error = recover(dir.path()).expect_err("is of another format");
        assert!(
            matches!(error, LogError::Format { found, known: 2 } if found == expected),
            "{error}"
        );
    }
}

//! One byte changed, at every place of every file: the log comes back as it was, or it is refused with the place. It
//! never comes back otherwise.

use super::*;

/// Segments of a size that a few records fill.
const TINY_BYTES: u64 = 1024;

/// What a byte becomes, one after the other from place to place.
const CHANGES: [fn(u8) -> u8; 3] = [|byte| byte ^ 1, |_| 0, |byte| byte ^ 0xff];

fn tiny(dir: &Path) -> DiskLog {
    DiskLog::with_segments(dir, Arc::new(Plain), TINY_BYTES).expect("opens")
}

/// Two segments at least with every kind of record, the last one an entry that nothing else tells of.
fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = tiny(dir.path());
    for index in 1..9 {
        let taken = snapshot(index, 1);
        let (batch, committed) = ([entry(index, 1, &[b'x'; 90])], state(1, index - 1));
        let compact = Compact { to: Position { index: 2, term: 1 }, all: false };
        log.write(LogBatch {
            entries: &batch,
            hard_state: Some(&committed),
            snapshot: (index == 3).then_some(&taken),
            compact: (index == 4).then_some(compact),
            ..LogBatch::default()
        })
        .expect("writes");
    }
    let last = [entry(9, 1, b"last")];
    log.write(LogBatch { entries: &last, ..LogBatch::default() }).expect("writes");
    drop(log);
    dir
}

/// Whether a change at this place of a file was refused; panics where it changed what the log says.
fn refused(dir: &Path, sound: &Recovered, path: &Path, bytes: &[u8], at: usize) -> bool {
    fs::write(path, bytes).expect("writes");
    match tiny(dir).recover() {
        Ok(found) => {
            assert_eq!(found, *sound, "{} at {at}", path.display());
            false
        }
        Err(LogError::Corrupt { place, .. }) => {
            // The log's newest record may be what says that a snapshot is missing something.
            assert!(place.contains(".wal byte ") || place.contains("snapshot-"), "{place}");
            true
        }
        Err(error) => panic!("{error} for {} at {at}", path.display()),
    }
}

#[test]
fn one_changed_byte_never_changes_what_a_log_says() {
    let dir = written();
    let sound = tiny(dir.path()).recover().expect("is sound");
    assert_eq!(indexes(&sound), [3, 4, 5, 6, 7, 8, 9]);
    let held = [files(dir.path(), ".wal"), files(dir.path(), "snapshot-")].concat();
    assert!(held.len() >= 3, "{held:?}");
    for path in held {
        let whole = fs::read(&path).expect("reads");
        let end = whole.iter().rposition(|byte| *byte != 0).expect("has content") + 1;
        let (mut damaged, mut tried) = (0, 0);
        for at in 0..whole.len().min(end + 64) {
            let mut bytes = whole.clone();
            bytes[at] = CHANGES[at % CHANGES.len()](whole[at]);
            if bytes != whole {
                tried += 1;
                damaged += usize::from(refused(dir.path(), &sound, &path, &bytes, at));
                fs::write(&path, &whole).expect("writes");
            }
        }
        // What means nothing: zeros between records, and those that were never written.
        assert!(damaged * 10 > tried * 6, "{damaged} of {tried} in {}", path.display());
    }
    assert_eq!(tiny(dir.path()).recover().expect("is sound"), sound);
}

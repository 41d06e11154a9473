//! What a power cut leaves of one write: the directory as it was before, as it would have been after, or in between.
//!
//! The order in which the log does things limits what "in between" is: a snapshot is whole before a batch names it, a
//! segment has its header before its name, and files go only when the batch that freed them is flushed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::random::Random;

/// What a disk writes whole.
const SECTOR_BYTES: usize = 512;
/// A segment's header, which is there before the segment has its name (`swarm_raft::log`).
const HEADER_BYTES: usize = 64;
/// Files that are being made.
const UNFINISHED: &str = ".tmp";

/// Copies the files of a directory. Those that go meanwhile were no longer needed.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    names(from)?.iter().try_for_each(|name| match fs::copy(from.join(name), to.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// Makes of `dir`, which holds what a whole write left, what a torn one may have left; `before` is what was there.
pub(crate) fn tear(before: &Path, dir: &Path, random: &mut Random) -> io::Result<()> {
    // A fork, as how much chance is needed depends on how much was written.
    let mut random = random.fork();
    match random.below(3) {
        // All of it was on disk, and nobody was told.
        0 => return Ok(()),
        1 => tear_snapshot(before, dir, &mut random)?,
        _ => tear_segments(before, dir, &mut random)?,
    }
    // What the batch freed is there yet.
    for name in &names(before)? - &names(dir)? {
        if !name.ends_with(UNFINISHED) {
            fs::copy(before.join(&name), dir.join(&name))?;
        }
    }
    Ok(())
}

/// The power went while the snapshot that the batch brings was written: of it there is a part, of the batch nothing.
fn tear_snapshot(before: &Path, dir: &Path, random: &mut Random) -> io::Result<()> {
    for name in names(dir)? {
        let path = dir.join(&name);
        match fs::read(before.join(&name)) {
            Ok(old) => fs::write(path, old)?,
            Err(_) => {
                let bytes = fs::read(&path)?;
                fs::remove_file(path)?;
                let part = &bytes[..random.below(bytes.len() + 1)];
                fs::write(dir.join(format!("{name}{UNFINISHED}")), part)?;
            }
        }
    }
    Ok(())
}

/// Each sector of the batch reached the disk, or not.
fn tear_segments(before: &Path, dir: &Path, random: &mut Random) -> io::Result<()> {
    for name in names(dir)?.iter().filter(|name| name.ends_with(".wal")) {
        let old = fs::read(before.join(name)).unwrap_or_default();
        let mut found = fs::read(dir.join(name))?;
        if found == old {
            continue;
        }
        for begin in (0..found.len()).step_by(SECTOR_BYTES) {
            if random.chance(500) {
                let end = found.len().min(begin + SECTOR_BYTES);
                for (at, byte) in
                    found.iter_mut().enumerate().take(end).skip(begin.max(HEADER_BYTES))
                {
                    *byte = old.get(at).copied().unwrap_or_default();
                }
            }
        }
        fs::write(dir.join(name), found)?;
    }
    Ok(())
}

fn names(dir: &Path) -> io::Result<BTreeSet<String>> {
    fs::read_dir(dir)?
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        .collect()
}

//! Snapshots in files of their own: written under a temporary name, flushed, renamed; only then may a record name one.
//!
//! ```text
//!   magic 8 | format u32 | CRC u32 of the sealed body || sealed body: length u32 | metadata | data
//! ```
//!
//! The name holds index and checksum, so a file never changes once it is named.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use protobuf::Message as _;
use raft::eraftpb::{Snapshot, SnapshotMetadata};

use super::batch::SnapshotRef;
use super::directory::{UNFINISHED, sync_directory};
use super::error::{LogError, corrupt, place, storage};
use super::segment::FORMAT;
use super::{Position, position};
use crate::sealer::Sealer;

const MAGIC: &[u8; 8] = b"swarmsnp";
const HEADER_BYTES: usize = 16;
const PREFIX: &str = "snapshot-";
/// Flushed in parts of this size: the log, which is written meanwhile, waits for one of them at most.
const FLUSH_BYTES: usize = 1 << 20;

/// Where the snapshot that `reference` names lies.
pub(super) fn path(dir: &Path, reference: SnapshotRef) -> PathBuf {
    dir.join(name(reference))
}

/// Whether a file is a snapshot, and not the one that `reference` names.
pub(super) fn is_other(name_found: &str, reference: SnapshotRef) -> bool {
    name_found.starts_with(PREFIX) && name_found != name(reference)
}

/// Writes a snapshot and tells how a record names it.
pub(super) fn write(
    dir: &Path,
    sealer: &dyn Sealer,
    snapshot: &Snapshot,
) -> Result<SnapshotRef, LogError> {
    let body = sealer.seal(encode(snapshot));
    let reference = SnapshotRef { at: position(snapshot), checksum: crc32fast::hash(&body) };
    let path = path(dir, reference);
    let unfinished = dir.join(format!("{}{UNFINISHED}", name(reference)));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(MAGIC)?;
        file.write_all(&FORMAT.to_le_bytes())?;
        file.write_all(&reference.checksum.to_le_bytes())?;
        for part in body.chunks(FLUSH_BYTES) {
            file.write_all(part)?;
            file.sync_data()?;
        }
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_directory(dir)
    };
    write()
        .inspect_err(|_| {
            // Gives back what it took of a full disk; what remains is removed at the next start.
            let _ = fs::remove_file(&unfinished);
        })
        .map_err(storage("writing a snapshot of"))?;
    Ok(reference)
}

/// Reads the snapshot that a record names; an empty one where it names none.
pub(super) fn read(
    dir: &Path,
    sealer: &dyn Sealer,
    reference: SnapshotRef,
) -> Result<Snapshot, LogError> {
    if reference == SnapshotRef::default() {
        return Ok(Snapshot::default());
    }
    let path = path(dir, reference);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(&path, 0, "the snapshot is missing"));
        }
        read => read.map_err(storage("reading a snapshot of"))?,
    };
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(corrupt(&path, 0, "the snapshot is too short"));
    };
    let expected = [FORMAT.to_le_bytes(), reference.checksum.to_le_bytes()].concat();
    if &header[..8] != MAGIC || header[8..] != expected {
        return Err(corrupt(&path, 0, "the snapshot's header does not match its record"));
    }
    if crc32fast::hash(body) != reference.checksum {
        return Err(corrupt(&path, HEADER_BYTES, "the snapshot does not match its checksum"));
    }
    let plain = sealer
        .open(body)
        .map_err(|source| LogError::Sealed { place: place(&path, HEADER_BYTES), source })?;
    decode(plain)
        .filter(|snapshot| position(snapshot) == reference.at)
        .ok_or_else(|| corrupt(&path, HEADER_BYTES, "the snapshot is not what its record says"))
}

fn name(SnapshotRef { at: Position { index, .. }, checksum }: SnapshotRef) -> String {
    format!("{PREFIX}{index:020}-{checksum:08x}")
}

/// Not `Snapshot`'s own encoding, which would copy the state once more.
fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let metadata = snapshot
        .get_metadata()
        .write_to_bytes()
        .expect("a message is written into memory and has no required fields");
    let length = u32::try_from(metadata.len()).expect("it holds the members' identifiers");
    let mut plain = Vec::with_capacity(4 + metadata.len() + snapshot.data.len());
    plain.extend_from_slice(&length.to_le_bytes());
    plain.extend_from_slice(&metadata);
    plain.extend_from_slice(&snapshot.data);
    plain
}

fn decode(plain: Vec<u8>) -> Option<Snapshot> {
    let (length, rest) = plain.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (metadata, data) = rest.split_at_checked(length)?;
    let metadata = SnapshotMetadata::parse_from_bytes(metadata).ok()?;
    let mut snapshot = Snapshot { data: data.to_vec().into(), ..Snapshot::default() };
    snapshot.set_metadata(metadata);
    Some(snapshot)
}

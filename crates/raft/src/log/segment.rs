//! One file of the log: a header, then frames, then zeros to the end of its fixed size.
//!
//! A segment is filled with zeros before it gets its name. So a flush of a frame writes the frame's blocks and no
//! metadata, a full disk shows before a batch is begun, and what was never written can be told from what was.
//!
//! ```text
//!   magic 8 | format u32 | previous u32 | number u64 | size u64 | salt u64 | zeros | CRC u32
//! ```

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::directory::sync_directory;
use super::error::{LogError, corrupt};
use super::frame;

/// The newest format, and the only one that is read. Format 1 was one `redb` file.
pub(super) const FORMAT: u32 = 2;
/// Where frames begin.
pub(super) const HEADER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"swarmwal";
/// The size of the writes that fill a segment with zeros.
const FILL_BYTES: usize = 1 << 20;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Counts segments from 1.
    pub(super) number: u64,
    /// The size of the file.
    pub(super) size: u64,
    /// Where all checksums of this segment begin.
    pub(super) salt: u64,
    /// The checksum of the last frame of the segment before; 0 for the first.
    pub(super) previous: u32,
    /// The header's own checksum, which the first frame repeats.
    pub(super) checksum: u32,
}

impl Header {
    fn new(number: u64, size: u64, previous: u32) -> (Self, [u8; HEADER_BYTES]) {
        let salt = RandomState::new().build_hasher().finish();
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&previous.to_le_bytes());
        for (at, word) in [(16, number), (24, size), (32, salt)] {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        (Self { number, size, salt, previous, checksum }, bytes)
    }

    /// The header in the bytes of the segment at `path`.
    pub(super) fn read(path: &Path, segment: &[u8], number: u64) -> Result<Self, LogError> {
        let damaged = |why| Err(corrupt(path, 0, why));
        let Some(bytes) = segment.first_chunk::<HEADER_BYTES>() else {
            return damaged("the file is too short");
        };
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let checksum = word(HEADER_BYTES - 4);
        if checksum != crc32fast::hash(&bytes[..HEADER_BYTES - 4]) || &bytes[..8] != MAGIC {
            return damaged("the file's header does not match its checksum");
        }
        if word(8) != FORMAT {
            return Err(LogError::Format { found: word(8), known: FORMAT });
        }
        let header =
            Self { number: long(16), size: long(24), salt: long(32), previous: word(12), checksum };
        if header.number != number {
            return damaged("another segment stands in its place");
        }
        if header.size != segment.len() as u64 {
            return damaged("the file does not have the size it was made with");
        }
        Ok(header)
    }
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    header: Header,
    /// Where the next frame begins.
    at: u64,
    /// The checksum of the last frame, or of the header.
    previous: u32,
}

impl Segment {
    /// Makes the segment after one whose last frame has the checksum `previous`, out of a file of zeros at `blank`.
    pub(super) fn create(dir: &Path, blank: &Path, number: u64, previous: u32) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(blank)?;
        let (header, bytes) = Header::new(number, file.metadata()?.len(), previous);
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(blank, path(dir, number))?;
        sync_directory(dir)?;
        Ok(Self { file, header, at: HEADER_BYTES as u64, previous: header.checksum })
    }

    /// Goes on at `at` in a segment that was read, and wipes what was torn there.
    pub(super) fn reopen(
        path: &Path,
        header: Header,
        at: usize,
        previous: u32,
        torn: usize,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        if torn > 0 {
            file.write_all_at(&vec![0; torn], at as u64)?;
            file.sync_data()?;
        }
        Ok(Self { file, header, at: at as u64, previous })
    }

    /// Whether a body of this length fits.
    pub(super) fn fits(&self, body: usize) -> bool {
        self.at + frame::frame_bytes(body) as u64 <= self.header.size
    }

    /// Appends a frame and flushes it.
    pub(super) fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let (bytes, checksum) = frame::frame(self.header.salt, self.previous, body);
        self.file.write_all_at(&bytes, self.at)?;
        self.file.sync_data()?;
        self.at += bytes.len() as u64;
        self.previous = checksum;
        Ok(())
    }

    pub(super) fn number(&self) -> u64 {
        self.header.number
    }

    pub(super) fn previous(&self) -> u32 {
        self.previous
    }

    /// Whether no frame was written yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.at == HEADER_BYTES as u64
    }

    /// Whether the next segment will be needed soon.
    pub(super) fn is_half_full(&self) -> bool {
        self.at > self.header.size / 2
    }
}

/// Where the segment with this number lies.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.wal"))
}

/// The number in a segment's name.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".wal")?.parse().ok()
}

/// Makes a file of `size` zeros that are on disk.
pub(super) fn fill(path: &Path, size: u64) -> io::Result<()> {
    let fill = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let zeros = vec![0; FILL_BYTES];
        let mut left = size;
        while left > 0 {
            let part = usize::try_from(left).map_or(FILL_BYTES, |left| left.min(FILL_BYTES));
            file.write_all(&zeros[..part])?;
            // In parts, as snapshots are: the log is written meanwhile.
            file.sync_data()?;
            left -= part as u64;
        }
        file.sync_all()
    };
    fill().inspect_err(|_| {
        // Gives back what it took of a full disk; what remains is removed at the next start.
        let _ = fs::remove_file(path);
    })
}

//! One write on disk: a header, the sealed body of a batch, and a mark at the end.
//!
//! ```text
//!   length u32 | previous u32 | body CRC u32 | header CRC u32 || body || zeros up to 15 | mark u8
//! ```
//!
//! Frames begin at multiples of 16, so that no header crosses a sector, and follow one another: `previous` is the
//! header CRC of the frame before, and all checksums begin with the segment's random salt, so that neither a stale
//! frame nor a frame that a client wrote into a body is taken for one of the log's. Space that was never written is
//! zero. So a write that lost power shows as sectors of zeros, and a changed bit does not: [`judge`] tells them apart,
//! as etcd's log does. The one thing it cannot see is damage to a last record whose own body has a sector of zeros,
//! which no sealed body has: the commit index may tell then.

use std::ops::Range;

/// Bytes before the body.
const HEADER_BYTES: usize = 16;
/// What frames are aligned to.
const ALIGNMENT: usize = 16;
/// The last byte of each frame: where it is zero and the body does not match, the end was not written.
const MARK: u8 = 0xA5;
/// The smallest unit that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// A frame that stands in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where its sealed body lies.
    pub(super) body: Range<usize>,
    /// Where the next frame begins.
    pub(super) end: usize,
    /// Its header CRC, which the next frame repeats.
    pub(super) checksum: u32,
}

/// What stands where a frame could begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A frame that follows the one before.
    Frame(Frame),
    /// Nothing: zeros up to the end.
    End,
    /// A write that was under way when power went, or the process.
    Torn,
    /// Something that no write leaves.
    Damaged(&'static str),
}

/// The bytes that a body of this length takes with header and mark.
pub(super) fn frame_bytes(body: usize) -> usize {
    (HEADER_BYTES + body + 1).next_multiple_of(ALIGNMENT)
}

/// The frame of `body` after the frame with the checksum `previous`, and its own checksum.
///
/// The caller keeps bodies far below 4 GiB.
pub(super) fn frame(salt: u64, previous: u32, body: &[u8]) -> (Vec<u8>, u32) {
    let length = u32::try_from(body.len()).expect("a batch is bounded by the messages it comes in");
    let header = Header { length, previous, body: checksum(salt, &[body]) };
    let own = header.checksum(salt);
    let mut bytes = Vec::with_capacity(frame_bytes(body.len()));
    for word in [header.length, header.previous, header.body, own] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(body);
    bytes.resize(frame_bytes(body.len()), 0);
    if let Some(last) = bytes.last_mut() {
        *last = MARK;
    }
    (bytes, own)
}

/// What stands at `at` in the bytes of a segment, after the frame with the checksum `previous`.
pub(super) fn judge(segment: &[u8], at: usize, salt: u64, previous: u32) -> Found {
    let rest = segment.get(at..).unwrap_or_default();
    if is_zero(rest) {
        return Found::End;
    }
    let later_from = match read(rest, salt) {
        Read::Frame(length, header, own) if header.previous == previous => {
            let body = at + HEADER_BYTES..at + HEADER_BYTES + length;
            return Found::Frame(Frame { body, end: at + frame_bytes(length), checksum: own });
        }
        Read::Frame(..) => return Found::Damaged("a record before it is missing"),
        Read::Body(length) => frame_bytes(length),
        Read::Header => ALIGNMENT,
    };
    // A later record is written only once this one is on disk.
    if (later_from..rest.len())
        .step_by(ALIGNMENT)
        .any(|at| matches!(read(&rest[at..], salt), Read::Frame(..)))
    {
        return Found::Damaged("the checksum does not match, and later records follow");
    }
    let torn = match read(rest, salt) {
        Read::Body(length) => is_torn(&segment[..at + frame_bytes(length)], at),
        // The sector with the header was lost, or nothing behind the header was written.
        _ => {
            let (header, after) = rest.split_at(HEADER_BYTES.min(rest.len()));
            is_zero(header) || is_zero(after)
        }
    };
    if torn { Found::Torn } else { Found::Damaged("the checksum does not match") }
}

/// A frame's header, without its checksum.
#[derive(Debug, Clone, Copy)]
struct Header {
    length: u32,
    previous: u32,
    body: u32,
}

impl Header {
    fn checksum(self, salt: u64) -> u32 {
        checksum(
            salt,
            &[&self.length.to_le_bytes(), &self.previous.to_le_bytes(), &self.body.to_le_bytes()],
        )
    }
}

/// What the bytes begin with.
enum Read {
    /// A whole frame: the length of its body, its header and the header's checksum.
    Frame(usize, Header, u32),
    /// A sound header before a body of this length that is not sound.
    Body(usize),
    /// No sound header.
    Header,
}

fn read(bytes: &[u8], salt: u64) -> Read {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Read::Header;
    };
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (header, own) = (Header { length: word(0), previous: word(4), body: word(8) }, word(12));
    let length = header.length as usize;
    if length == 0 || frame_bytes(length) > bytes.len() || own != header.checksum(salt) {
        return Read::Header;
    }
    // With all checksums right the record is whole, even if its mark is not: to take it for torn would lose it.
    if checksum(salt, &[&rest[..length]]) == header.body {
        Read::Frame(length, header, own)
    } else {
        Read::Body(length)
    }
}

/// Whether the frame from `at` to the end of `segment` lacks its end or a whole sector.
fn is_torn(segment: &[u8], at: usize) -> bool {
    let sectors = at.next_multiple_of(SECTOR_BYTES).min(segment.len());
    segment.last() == Some(&0) || segment[sectors..].chunks(SECTOR_BYTES).any(is_zero)
}

/// Looks at a sector at a time: most of a segment may be zeros.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(SECTOR_BYTES).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

fn checksum(salt: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

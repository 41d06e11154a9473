//! As much of ELF (elf(5)) as it takes to put an executable into an image: which loader it asks for, and where what
//! the loader reads ends. Debug information comes after that and is left out.

/// Offsets and sizes in the header of a 64-bit file.
const HEADER_LEN: usize = 64;
const PROGRAM_OFFSET: usize = 32;
const SECTION_OFFSET: usize = 40;
const PROGRAM_ENTRY_LEN: usize = 54;
const PROGRAM_COUNT: usize = 56;
const SECTION_COUNT: usize = 60;
const SECTION_NAMES: usize = 62;
/// The kinds of segment that matter here.
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;

/// A segment's place in the file.
#[derive(Debug, Clone, Copy)]
struct Segment {
    kind: u32,
    start: usize,
    end: usize,
}

/// The path of the loader that the executable names; none if it needs none.
pub(super) fn interpreter(file: &[u8]) -> Option<String> {
    let segment = segments(file)?.into_iter().find(|segment| segment.kind == INTERPRETER)?;
    let path = file.get(segment.start..segment.end)?;
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    String::from_utf8(path.to_vec()).ok()
}

/// The file without what is never loaded; as it is where that can't be told.
pub(super) fn loadable(file: &[u8]) -> Vec<u8> {
    let end = segments(file).and_then(|segments| {
        segments.iter().filter(|segment| segment.kind == LOAD).map(|segment| segment.end).max()
    });
    let Some(kept) = end.and_then(|end| file.get(..end)) else { return file.to_vec() };
    let mut kept = kept.to_vec();
    // The table of sections was behind the end: say that there is none.
    for (offset, length) in [(SECTION_OFFSET, 8), (SECTION_COUNT, 2), (SECTION_NAMES, 2)] {
        if let Some(field) = kept.get_mut(offset..offset + length) {
            field.fill(0);
        }
    }
    kept
}

/// The segments of a 64-bit little-endian file; none for anything else.
fn segments(file: &[u8]) -> Option<Vec<Segment>> {
    if file.len() < HEADER_LEN || !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(number(file, PROGRAM_OFFSET, 8)?).ok()?;
    let entry_len = usize::try_from(number(file, PROGRAM_ENTRY_LEN, 2)?).ok()?;
    let count = usize::try_from(number(file, PROGRAM_COUNT, 2)?).ok()?;
    let segment = |index: usize| {
        let at = table.checked_add(index.checked_mul(entry_len)?)?;
        let start = usize::try_from(number(file, at.checked_add(8)?, 8)?).ok()?;
        let length = usize::try_from(number(file, at.checked_add(32)?, 8)?).ok()?;
        let kind = u32::try_from(number(file, at, 4)?).ok()?;
        Some(Segment { kind, start, end: start.checked_add(length)? })
    };
    (0..count).map(segment).collect()
}

fn number(file: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, an interpreter segment and one to load, then ten bytes that nobody loads.
    fn file() -> Vec<u8> {
        let mut file = vec![0; HEADER_LEN + 2 * 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[PROGRAM_OFFSET] = 64;
        file[SECTION_OFFSET] = 180;
        file[PROGRAM_ENTRY_LEN] = 56;
        file[PROGRAM_COUNT] = 2;
        for (at, kind, start, length) in [(64, INTERPRETER, 176, 4), (120, LOAD, 0, 180)] {
            file[at] = u8::try_from(kind).expect("a small kind");
            file[at + 8] = start;
            file[at + 32] = length;
        }
        file.extend_from_slice(b"/ld\0debug data");
        file
    }

    #[test]
    fn keeps_what_is_loaded() {
        let kept = loadable(&file());
        assert_eq!(kept.len(), 180);
        assert_eq!(kept[SECTION_OFFSET], 0);
        assert_eq!(interpreter(&kept).as_deref(), Some("/ld"));
    }

    #[test]
    fn leaves_alone_what_it_does_not_know() {
        for bytes in [&b"#!/bin/sh\n"[..], b"", &file()[..100]] {
            assert_eq!(loadable(bytes), bytes);
            assert_eq!(interpreter(bytes), None);
        }
    }

    #[test]
    fn reads_this_executable() {
        let own = std::fs::read("/proc/self/exe").expect("this test");
        let kept = loadable(&own);
        assert!(kept.len() < own.len());
        assert_eq!(interpreter(&kept), interpreter(&own));
    }
}

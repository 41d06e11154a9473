//! Docker's json-file log, written by the shim: one JSON object per line of output, rotated by size.
//!
//! Mirrors moby's `jsonfilelog`: `{"log":"…\n","stream":"stdout","time":"…"}`, lines longer than 16 KiB are split into
//! pieces without a newline, rotated files are `<name>.1`, `<name>.2`, … with the newest lowest. Reading is in
//! `container::logs`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::timestamp;

/// Longest piece of one line, as in moby's log copier.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;

/// Which of the container's two streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// An open log with its rotation rule.
pub(super) struct JsonLog {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    size_bytes_max: u64,
    files_max: u32,
    line: Vec<u8>,
}

impl JsonLog {
    /// Opens the log for appending.
    pub(super) fn open(path: &Path, size_bytes_max: u64, files_max: u32) -> io::Result<Self> {
        let file = append(path)?;
        let size_bytes = file.metadata()?.len();
        let files_max = files_max.max(1);
        let path = path.to_owned();
        Ok(Self { path, file, size_bytes, size_bytes_max, files_max, line: Vec::new() })
    }

    /// Writes one piece of output, which carries its newline if it ended its line.
    pub(super) fn write(&mut self, stream: Stream, piece: &[u8], nanos: u64) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(b"{\"log\":\"");
        escape(piece, &mut self.line);
        let name = match stream {
            Stream::Stdout => b"stdout",
            Stream::Stderr => b"stderr",
        };
        self.line.extend_from_slice(b"\",\"stream\":\"");
        self.line.extend_from_slice(name);
        self.line.extend_from_slice(b"\",\"time\":\"");
        let mut time = [0u8; 30];
        let length = timestamp::format_into(nanos, &mut time);
        self.line.extend_from_slice(&time[..length]);
        self.line.extend_from_slice(b"\"}\n");
        let added = self.line.len() as u64;
        if self.size_bytes_max > 0 && self.size_bytes + added > self.size_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(&self.line)?;
        self.size_bytes += added;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.files_max > 1 {
            for number in (1..self.files_max - 1).rev() {
                let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
            }
            fs::rename(&self.path, self.numbered(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.size_bytes = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Escapes bytes as Go's encoder for this driver does; bytes that are no UTF-8 become U+FFFD.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                    unicode_escape(character, out);
                }
                other => {
                    let mut buffer = [0u8; 4];
                    out.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn unicode_escape(character: char, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let code = u32::from(character);
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(DIGITS[((code >> shift) & 0xf) as usize]);
    }
}

/// Cuts a stream of bytes into lines for the log.
pub(super) struct LineCutter {
    pending: Vec<u8>,
}

impl LineCutter {
    /// An empty cutter.
    pub(super) fn new() -> Self {
        Self { pending: Vec::new() }
    }

    /// Takes bytes and hands out each complete line, and each full piece of a line that is too long.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut out: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.pending.len();
            let newline = bytes.iter().take(room).position(|b| *b == b'\n');
            let take = newline.map_or(room.min(bytes.len()), |at| at + 1);
            let (head, tail) = bytes.split_at(take);
            bytes = tail;
            let complete = newline.is_some() || self.pending.len() + take == LINE_BYTES_MAX;
            match (self.pending.is_empty(), complete) {
                (true, true) => out(head),
                (_, false) => self.pending.extend_from_slice(head),
                (false, true) => {
                    self.pending.extend_from_slice(head);
                    out(&self.pending);
                    self.pending.clear();
                }
            }
        }
    }

    /// Hands out what is left at the end of the stream.
    pub(super) fn finish(&mut self, mut out: impl FnMut(&[u8])) {
        if !self.pending.is_empty() {
            out(&self.pending);
            self.pending = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut cutter = LineCutter::new();
        let mut lines = Vec::new();
        for piece in pieces {
            cutter.feed(piece, |line| lines.push(line.to_vec()));
        }
        cutter.finish(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn cuts_lines() {
        assert_eq!(cut(&[b"a\nb", b"c\n", b"d"]), [b"a\n".to_vec(), b"bc\n".into(), b"d".into()]);
        let long = vec![b'x'; LINE_BYTES_MAX + 3];
        let lengths: Vec<usize> = cut(&[&long, b"\n"]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, 4]);
    }

    #[test]
    fn escapes_as_docker_does() {
        let mut out = Vec::new();
        escape(b"a\"\\\n\x01<\xff\xc3\xa9", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "a\\\"\\\\\\n\\u0001\\u003c\\ufffd\u{e9}");
    }

    #[test]
    fn rotates_by_size() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("c-json.log");
        let mut log = JsonLog::open(&path, 150, 3).expect("open");
        for n in 0..10 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), n).expect("write");
        }
        let names = |suffix: &str| fs::read_to_string(format!("{}{suffix}", path.display()));
        assert!(names("").expect("live").contains("line 9"));
        assert!(names(".1").is_ok() && names(".2").is_ok() && names(".3").is_err());
    }
}

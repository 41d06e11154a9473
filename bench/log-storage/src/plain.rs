//! The floor: one file, a length, a CRC-32 and the body per entry, `fdatasync` per batch.

use crate::Log;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// A file that only grows; the tail is cut by a record that says so, the head is kept.
pub struct Plain {
    file: File,
}

impl Plain {
    fn write(&mut self, records: &[(u64, &[u8])]) {
        let mut buffer = Vec::new();
        for (index, body) in records {
            buffer.extend_from_slice(&(body.len() as u32).to_le_bytes());
            buffer.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
            buffer.extend_from_slice(&index.to_le_bytes());
            buffer.extend_from_slice(body);
        }
        self.file.write_all(&buffer).expect("write");
        self.file.sync_data().expect("fdatasync");
    }
}

impl Log for Plain {
    fn open(dir: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).read(true).open(dir.join("log")).expect("open");
        Self { file }
    }

    fn append(&mut self, first: u64, count: u64, body: &[u8]) {
        let mut records: Vec<_> = (first..first + count).map(|index| (index, body)).collect();
        records.push((0, &body[..24]));
        self.write(&records);
    }

    fn cut_tail(&mut self, first: u64) {
        self.write(&[(first, &[])]);
    }

    fn compact(&mut self, first: u64) {
        self.write(&[(first, &[])]);
    }

    fn read_all(&mut self) -> u64 {
        let mut all = Vec::new();
        self.file.read_to_end(&mut all).expect("read");
        let (mut at, mut count) = (0, 0);
        while at + 16 <= all.len() {
            let word = |n: usize| u32::from_le_bytes(all[at + n..at + n + 4].try_into().expect("four bytes"));
            let (length, sum) = (word(0) as usize, word(4));
            assert_eq!(sum, crc32fast::hash(&all[at + 16..at + 16 + length]));
            at += 16 + length;
            count += 1;
        }
        count
    }
}

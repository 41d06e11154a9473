//! What Raft's log asks of a storage library, measured: append small entries with one flush per batch, drop the
//! tail, drop the head, open again. Candidates: the log that is used, `raft-engine`, `redb`, and a plain file as the
//! floor.
//!
//! Run with `cargo run --manifest-path bench/log-storage/Cargo.toml [DIRECTORY]`; the directory decides the disk.
//! Figures and the decision are in docs/decisions/0001-log-storage.md.

mod own_log;
mod plain;
mod redb_log;
mod tikv_engine;

use std::path::Path;
use std::time::{Duration, Instant};

/// The size of an entry's body: about that of one task with its spec.
const BODY_BYTES: usize = 512;
/// How many batches one row measures.
const BATCHES: u64 = 1000;

/// One candidate under measurement.
pub trait Log {
    /// Opens or creates the log in `dir`.
    fn open(dir: &Path) -> Self;
    /// Appends `count` entries from index `first` on and the hard state, and flushes once.
    fn append(&mut self, first: u64, count: u64, body: &[u8]);
    /// Drops every entry from `first` on.
    fn cut_tail(&mut self, first: u64);
    /// Drops every entry before `first`.
    fn compact(&mut self, first: u64);
    /// Reads every entry, as a restart does, and returns how many there are.
    fn read_all(&mut self) -> u64;
}

fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    println!("| candidate | batch | median | p99 | entries/s | cut tail | compact | reopen and read | bytes on disk |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for batch in [1, 64] {
        measure::<own_log::OwnLog>("own log", &base, batch);
        measure::<tikv_engine::TikvEngine>("raft-engine", &base, batch);
        measure::<redb_log::RedbLog>("redb", &base, batch);
        measure::<plain::Plain>("plain file", &base, batch);
    }
}

fn measure<L: Log>(name: &str, base: &str, batch: u64) {
    let dir = tempfile::tempdir_in(base).expect("a directory to measure in");
    let body: Vec<u8> = (0..BODY_BYTES).map(|n| (n * 31 % 251) as u8).collect();
    let mut log = L::open(dir.path());
    let mut times: Vec<Duration> = (0..BATCHES).map(|n| clock(|| log.append(1 + n * batch, batch, &body))).collect();
    let total: Duration = times.iter().sum();
    times.sort();
    let last = BATCHES * batch;
    let bytes = disk_bytes(dir.path());
    let cut = clock(|| log.cut_tail(last - 9));
    let compact = clock(|| log.compact(last - 500));
    drop(log);
    let mut left = 0;
    let reopen = clock(|| left = L::open(dir.path()).read_all());
    assert!(left >= 490, "{name} kept {left} entries");
    println!(
        "| {name} | {batch} | {:?} | {:?} | {:.0} | {cut:?} | {compact:?} | {reopen:?} | {bytes} |",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        last as f64 / total.as_secs_f64(),
    );
}

fn clock(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn disk_bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).expect("list").map(|e| e.expect("entry").metadata().expect("metadata").len()).sum()
}

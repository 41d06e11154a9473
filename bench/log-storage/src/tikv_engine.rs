//! `raft-engine`: TiKV's log, an append-only file with an index in memory.

use crate::Log;
use raft::eraftpb::Entry;
use raft_engine::{Config, Engine, LogBatch, MessageExt};
use std::path::Path;

#[derive(Clone)]
struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// One group of a multi-group engine.
pub struct TikvEngine {
    engine: Engine,
}

impl Log for TikvEngine {
    fn open(dir: &Path) -> Self {
        let config = Config { dir: dir.display().to_string(), ..Config::default() };
        Self { engine: Engine::open(config).expect("open") }
    }

    fn append(&mut self, first: u64, count: u64, body: &[u8]) {
        let entries: Vec<Entry> = (first..first + count)
            .map(|index| Entry { index, term: 1, data: body.to_vec().into(), ..Entry::default() })
            .collect();
        let mut batch = LogBatch::default();
        batch.add_entries::<Entries>(1, &entries).expect("add");
        batch.put(1, b"hard state".to_vec(), body[..24].to_vec()).expect("put");
        self.engine.write(&mut batch, true).expect("write");
    }

    fn cut_tail(&mut self, first: u64) {
        // The tail is cut by writing over it: entries after the ones that are appended go.
        self.append(first, 1, &[0; 24]);
    }

    fn compact(&mut self, first: u64) {
        self.engine.compact_to(1, first);
        self.engine.purge_expired_files().expect("purge");
    }

    fn read_all(&mut self) -> u64 {
        let mut entries = Vec::new();
        let (first, last) = (self.engine.first_index(1).expect("first"), self.engine.last_index(1).expect("last"));
        self.engine.fetch_entries_to::<Entries>(1, first, last + 1, None, &mut entries).expect("fetch") as u64
    }
}

//! `redb`: entries in one table by index, the hard state in another.

use crate::Log;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// A copy-on-write B-tree in one file.
pub struct RedbLog {
    database: Database,
}

impl RedbLog {
    fn write(&mut self, work: impl FnOnce(&mut redb::Table<'_, u64, &[u8]>, &mut redb::Table<'_, &str, &[u8]>)) {
        let mut transaction = self.database.begin_write().expect("begin");
        transaction.set_durability(Durability::Immediate).expect("durability");
        {
            let mut entries = transaction.open_table(ENTRIES).expect("entries");
            let mut state = transaction.open_table(STATE).expect("state");
            work(&mut entries, &mut state);
        }
        transaction.commit().expect("commit");
    }
}

impl Log for RedbLog {
    fn open(dir: &Path) -> Self {
        Self { database: Database::create(dir.join("log.redb")).expect("open") }
    }

    fn append(&mut self, first: u64, count: u64, body: &[u8]) {
        self.write(|entries, state| {
            for index in first..first + count {
                entries.insert(index, body).expect("insert");
            }
            state.insert("hard state", &body[..24]).expect("insert");
        });
    }

    fn cut_tail(&mut self, first: u64) {
        self.write(|entries, _| entries.retain_in(first.., |_, _| false).expect("cut"));
    }

    fn compact(&mut self, first: u64) {
        self.write(|entries, _| entries.retain_in(..first, |_, _| false).expect("compact"));
    }

    fn read_all(&mut self) -> u64 {
        let transaction = self.database.begin_read().expect("begin");
        let entries = transaction.open_table(ENTRIES).expect("entries");
        entries.iter().expect("iterate").map(|pair| pair.expect("entry")).count() as u64
    }
}

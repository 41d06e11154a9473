//! The log on disk: one `redb` file, entries by index in one table and everything else in another.
//!
//! A batch is one transaction with one flush; a commit that was torn by a power cut is rolled back by redb, and such
//! a commit was never acknowledged. Whatever else is wrong with the file refuses to open. Why redb:
//! docs/decisions/0001-log-storage.md.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use protobuf::Message;
use raft::eraftpb::{Entry, HardState, Snapshot};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::record::{corrupt, pack, unpack};
use super::{LogBatch, LogError, LogStore, Position, Recovered};
use crate::sealer::Sealer;

/// The newest format, and the only one so far.
const FORMAT: u32 = 1;
/// The file's name in the member's directory.
const FILE: &str = "raft.redb";
/// redb's page cache. The log is read once, so a small one does.
const CACHE_BYTES: usize = 1 << 20;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// A log in a directory of its own.
pub struct DiskLog {
    database: Database,
    sealer: Arc<dyn Sealer>,
}

impl DiskLog {
    /// Opens the log in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`LogError`], when the directory cannot be used or the log has an unknown format.
    pub fn open(dir: &Path, sealer: Arc<dyn Sealer>) -> Result<Self, LogError> {
        let path = dir.join(FILE);
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| LogError::Open {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(dir).map_err(|error| failed(error.into()))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|error| failed(error.into()))?;
        // The file's name must survive too.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| failed(error.into()))?;
        Self::over(database, sealer)
    }

    /// A log over an open database.
    pub(crate) fn over(database: Database, sealer: Arc<dyn Sealer>) -> Result<Self, LogError> {
        let log = Self { database, sealer };
        log.transact("preparing", |_, meta| {
            let found = meta.get("format")?.map(|format| format.value().to_vec());
            match found {
                None => meta.insert("format", FORMAT.to_le_bytes().as_slice()).map(|_| FORMAT),
                Some(bytes) => Ok(bytes.try_into().map_or(0, u32::from_le_bytes)),
            }
        })
        .and_then(|found| match found {
            FORMAT => Ok(log),
            found => Err(LogError::Format { found, known: FORMAT }),
        })
    }

    fn transact<R>(
        &self,
        action: &'static str,
        work: impl FnOnce(
            &mut Table<'_, u64, &[u8]>,
            &mut Table<'_, &str, &[u8]>,
        ) -> Result<R, redb::StorageError>,
    ) -> Result<R, LogError> {
        let run = || -> Result<R, redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let result = {
                let mut entries = transaction.open_table(ENTRIES)?;
                let mut meta = transaction.open_table(META)?;
                work(&mut entries, &mut meta)?
            };
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|source| LogError::Storage { action, source: Box::new(source) })
    }

    fn pack(&self, message: &impl Message) -> Vec<u8> {
        let plain = message
            .write_to_bytes()
            .expect("a message is written into memory and has no required fields");
        pack(self.sealer.as_ref(), plain)
    }

    fn unpack<M: Message>(&self, record: &[u8], place: &str) -> Result<M, LogError> {
        let plain = unpack(self.sealer.as_ref(), record, place)?;
        M::parse_from_bytes(&plain).map_err(|error| corrupt(place, error.to_string()))
    }

    fn read_meta(&self, key: &str) -> Result<Option<Vec<u8>>, LogError> {
        let run = || -> Result<_, redb::Error> {
            let meta = self.database.begin_read()?.open_table(META)?;
            Ok(meta.get(key)?.map(|value| value.value().to_vec()))
        };
        run().map_err(reading)
    }

    fn read_message<M: Message>(&self, key: &str) -> Result<M, LogError> {
        self.read_meta(key)?.map_or_else(|| Ok(M::new()), |record| self.unpack(&record, key))
    }

    fn read_entries(&self, after: u64) -> Result<Vec<Entry>, LogError> {
        let run =
            || -> Result<_, redb::Error> { Ok(self.database.begin_read()?.open_table(ENTRIES)?) };
        let table = run().map_err(reading)?;
        let mut entries = Vec::new();
        for (expected, pair) in
            (after + 1..).zip(table.iter().map_err(|error| reading(error.into()))?)
        {
            let (index, record) = pair.map_err(|error| reading(error.into()))?;
            let place = format!("entry {expected}");
            let entry: Entry = self.unpack(record.value(), &place)?;
            if index.value() != expected || entry.index != expected {
                return Err(corrupt(&place, format!("entry {} stands in its place", entry.index)));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl LogStore for DiskLog {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let hard_state: HardState = self.read_message("hard_state")?;
        let snapshot: Snapshot = self.read_message("snapshot")?;
        // A log entry without a body says where compaction got to.
        let compacted: Entry = self.read_message("compacted")?;
        let entries = self.read_entries(compacted.index)?;
        let last = compacted.index + entries.len() as u64;
        if hard_state.commit > last {
            return Err(corrupt(
                "the tail",
                format!("entry {} was committed, and {last} is the last", hard_state.commit),
            ));
        }
        let compacted = Position { index: compacted.index, term: compacted.term };
        Ok(Recovered { hard_state, snapshot, compacted, entries })
    }

    fn write(&mut self, batch: LogBatch<'_>) -> Result<(), LogError> {
        let records: Vec<(u64, Vec<u8>)> =
            batch.entries.iter().map(|entry| (entry.index, self.pack(entry))).collect();
        let hard_state = batch.hard_state.map(|state| self.pack(state));
        let snapshot = batch.snapshot.map(|snapshot| self.pack(snapshot));
        let compacted = batch.compact.map(|compact| {
            let Position { index, term } = compact.to;
            (compact, self.pack(&Entry { index, term, ..Entry::default() }))
        });
        self.transact("writing", |entries, meta| {
            for (key, value) in [("hard_state", hard_state), ("snapshot", snapshot)] {
                if let Some(value) = value {
                    meta.insert(key, value.as_slice())?;
                }
            }
            if let Some((compact, record)) = compacted {
                meta.insert("compacted", record.as_slice())?;
                let upto = if compact.all { u64::MAX } else { compact.to.index };
                entries.retain_in(..=upto, |_, _| false)?;
            }
            if let Some((first, _)) = records.first()
                && entries.last()?.is_some_and(|(last, _)| last.value() >= *first)
            {
                entries.retain_in(*first.., |_, _| false)?;
            }
            for (index, record) in &records {
                entries.insert(*index, record.as_slice())?;
            }
            Ok(())
        })
    }
}

fn reading(source: redb::Error) -> LogError {
    LogError::Storage { action: "reading", source: Box::new(source) }
}

//! A worker's side of a queue: takes votes under its own name, and removes them once they are counted.
//!
//! Whatever a worker took and did not remove comes first when one of that name is back. What belongs to a worker that
//! stays away is taken over after a while. So several workers may empty one queue, and any of them may die.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{FromRedisValue, RedisError};

use super::{Address, FIELD, GROUP, QueueError, STREAM};
use crate::ballot::Vote;

/// Votes of one transaction: enough that a commit's flush doesn't matter, few enough to be done in a moment.
const BATCH: usize = 1000;
/// How long Redis holds an answer back when there is nothing to do.
const BLOCK: Duration = Duration::from_secs(1);
/// Twice the time in which an empty queue answers, and some for a slow disk.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A worker that has not removed a vote after so long is taken for dead. If it lives, the vote is merely seen twice.
const ABANDONED: Duration = Duration::from_secs(30);

/// What was taken at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The entries by their names in the stream.
    pub entries: Vec<String>,
    /// Their votes.
    pub votes: Vec<Vote>,
}

/// Gives votes away.
#[derive(Debug)]
pub struct Outbox {
    address: Address,
    connection: MultiplexedConnection,
    worker: String,
    /// Whether this worker may have taken something that it did not remove.
    own_left: bool,
    looked_for_abandoned: Instant,
}

impl Outbox {
    /// Connects to the Redis of that URL as the worker of that name.
    pub async fn open(url: &str, worker: &str) -> Result<Self, QueueError> {
        let address = Address::new(url, RESPONSE_TIMEOUT)?;
        let mut connection = address.connect().await?;
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(STREAM).arg(GROUP).arg("0").arg("MKSTREAM");
        match create.exec_async(&mut connection).await {
            Err(error) if error.code() != Some("BUSYGROUP") => {
                return Err(address.failed("create the group of workers")(error));
            }
            _ => {}
        }
        let looked_for_abandoned = Instant::now();
        let worker = worker.into();
        Ok(Self { address, connection, worker, own_left: true, looked_for_abandoned })
    }

    /// The next votes to count. Waits a moment for some, and may come back with none.
    pub async fn take(&mut self) -> Result<Batch, QueueError> {
        if self.own_left {
            let own = self.read("0").await?;
            self.own_left = !own.entries.is_empty();
            if self.own_left {
                return Ok(own);
            }
        }
        if self.looked_for_abandoned.elapsed() >= ABANDONED {
            let abandoned = self.take_abandoned().await?;
            if !abandoned.entries.is_empty() {
                return Ok(abandoned);
            }
            self.looked_for_abandoned = Instant::now();
        }
        self.read(">").await
    }

    /// Removes what was counted.
    pub async fn remove(&mut self, batch: &Batch) -> Result<(), QueueError> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("XACK").arg(STREAM).arg(GROUP).arg(&batch.entries);
        pipeline.cmd("XDEL").arg(STREAM).arg(&batch.entries);
        let removed = pipeline.exec_async(&mut self.connection).await;
        removed.map_err(self.address.failed("remove counted votes"))
    }

    async fn read(&mut self, after: &str) -> Result<Batch, QueueError> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.worker).arg("COUNT").arg(BATCH);
        command.arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX));
        command.arg("STREAMS").arg(STREAM).arg(after);
        let reply: Option<StreamReadReply> = self.ask("take votes", &command).await?;
        let keys = reply.unwrap_or_default().keys;
        Ok(self.batch(keys.into_iter().flat_map(|key| key.ids)))
    }

    async fn take_abandoned(&mut self) -> Result<Batch, QueueError> {
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(STREAM).arg(GROUP).arg(&self.worker);
        command.arg(u64::try_from(ABANDONED.as_millis()).unwrap_or(u64::MAX)).arg("0");
        command.arg("COUNT").arg(BATCH);
        let reply: StreamAutoClaimReply = self.ask("take abandoned votes", &command).await?;
        Ok(self.batch(reply.claimed))
    }

    async fn ask<T: FromRedisValue>(
        &mut self,
        operation: &'static str,
        command: &redis::Cmd,
    ) -> Result<T, QueueError> {
        let answer: Result<T, RedisError> = command.query_async(&mut self.connection).await;
        answer.map_err(self.address.failed(operation))
    }

    /// What is no vote is taken along, so that it is removed, and told about: no front end writes such.
    fn batch(&self, entries: impl IntoIterator<Item = StreamId>) -> Batch {
        let mut batch = Batch::default();
        for entry in entries {
            let text: Option<String> = entry.get(FIELD);
            match text.map(|text| text.parse()) {
                Some(Ok(vote)) => batch.votes.push(vote),
                Some(Err(error)) => {
                    tracing::warn!(redis = self.address.name, entry = entry.id, %error, "removed");
                }
                None => tracing::warn!(redis = self.address.name, entry = entry.id, "not a vote"),
            }
            batch.entries.push(entry.id);
        }
        batch
    }
}

//! The worker: empties the queues of all Redis servers that it was told of into Postgres.
//!
//! Each queue has a task with connections of its own, so one Redis that is away holds no other up. A task repeats:
//! take votes, commit of each voter the newest, remove them. Whatever fails, it starts again from what the queue says,
//! with longer and longer waits; nothing is kept in memory.

use tokio::task::JoinSet;
use tokio_postgres::Config;

use crate::backoff::Backoff;
use crate::ballot::newest;
use crate::ledger::{Ledger, LedgerError};
use crate::queue::{Outbox, QueueError};

/// What a worker is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name in the queues: what it left behind is its own again.
    pub name: String,
    /// The Redis servers, by URL.
    pub redis: Vec<String>,
    /// Where votes are counted.
    pub postgres: Config,
}

/// Why a task starts again.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Works until it is dropped.
pub async fn run(settings: Settings) {
    let mut tasks = JoinSet::new();
    for url in settings.redis.clone() {
        let settings = settings.clone();
        tasks.spawn(async move { empty(&url, &settings).await });
    }
    // None of them ends.
    while tasks.join_next().await.is_some() {}
}

async fn empty(url: &str, settings: &Settings) {
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = work(url, settings, &mut backoff).await;
        let wait = backoff.failed();
        tracing::warn!(%error, again_after = ?wait, "a queue is not being emptied");
        tokio::time::sleep(wait).await;
    }
}

/// Empties one queue for as long as all is well.
async fn work(
    url: &str,
    settings: &Settings,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, WorkerError> {
    let ledger = Ledger::open(&settings.postgres).await?;
    ledger.prepare().await?;
    let mut outbox = Outbox::open(url, &settings.name).await?;
    loop {
        let batch = outbox.take().await?;
        if !batch.entries.is_empty() {
            let changed = ledger.commit(&newest(batch.votes.iter().cloned())).await?;
            outbox.remove(&batch).await?;
            tracing::debug!(taken = batch.entries.len(), changed, "counted");
        }
        backoff.worked();
    }
}

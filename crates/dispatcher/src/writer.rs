//! Brings batches into the store: one transaction at a time, everything that came in meanwhile in the next.
//!
//! A lone write is thus never delayed, and under load the commit's own duration makes the batches. A call is answered
//! when its writes are committed, so what an agent was acknowledged is not lost with the leader.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_store::Store;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::SessionError;
use crate::batch::Batch;
use crate::config::{CHANGES_PER_TRANSACTION_MAX, WRITES_WAITING_MAX};

/// The pause after a transaction that failed although this manager leads.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The queue before the store.
#[derive(Debug)]
pub(crate) struct Writer {
    pending: Mutex<Pending>,
    added: Notify,
    admission: Semaphore,
}

#[derive(Debug, Default)]
struct Pending {
    /// Coalesced, so bounded by the number of objects.
    batch: Batch,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            pending: Mutex::default(),
            added: Notify::new(),
            admission: Semaphore::new(WRITES_WAITING_MAX),
        }
    }

    /// Adds writes whose commit nobody waits for.
    pub(crate) fn queue(&self, add: impl FnOnce(&mut Batch)) {
        add(&mut self.pending().batch);
        self.added.notify_one();
    }

    /// Adds writes and waits until they are committed.
    pub(crate) async fn commit(&self, add: impl FnOnce(&mut Batch)) -> Result<(), SessionError> {
        let _permit = self.admission.acquire().await.map_err(|_| SessionError::Stopped)?;
        let (answer, committed) = oneshot::channel();
        {
            let mut pending = self.pending();
            add(&mut pending.batch);
            pending.waiters.push(answer);
        }
        self.added.notify_one();
        committed.await.map_err(|_| SessionError::Stopped)
    }

    /// Writes until the caller drops it. Answers nobody whose write is not committed: [`Writer::stop`] does.
    pub(crate) async fn run(&self, store: &Store, applied_by: &str) {
        loop {
            self.added.notified().await;
            let Pending { mut batch, waiters } = std::mem::take(&mut *self.pending());
            while !batch.is_empty() {
                let part = batch.take(CHANGES_PER_TRANSACTION_MAX);
                let rest = loop {
                    match store.update(|transaction| part.apply(transaction, applied_by)).await {
                        Ok(rest) => break rest,
                        Err(error) => {
                            tracing::warn!(%error, "statuses could not be written, trying again");
                        }
                    }
                    tokio::time::sleep(RETRY_AFTER).await;
                };
                batch.put_back(rest);
            }
            for waiter in waiters {
                // A caller that has gone needs no answer.
                let _ = waiter.send(());
            }
        }
    }

    /// Fails all who wait, now and later.
    pub(crate) fn stop(&self) {
        self.admission.close();
        self.pending().waiters.clear();
    }

    // A panic inside `add` leaves a coalesced batch at worst incomplete; agents report again.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Watches: every commit in order, with the tables as they were after it.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::change::Change;
use crate::store::Store;
use crate::tables::Tables;

/// A watcher this many commits behind starts anew from the tables instead of reading them one by one.
pub(crate) const COMMITS_WAITING_MAX: usize = 4096;

/// One commit as a watcher sees it.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The tables after the commit.
    pub tables: Tables,
    /// What changed, in order; empty where `resync` is set.
    pub changes: Arc<[Change]>,
    /// Commits were missed or a snapshot replaced the state: start anew from `tables`.
    pub resync: bool,
}

/// A stream of commits. It holds back neither writers nor other watchers.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    commits: broadcast::Receiver<Commit>,
}

impl Watch {
    pub(crate) fn new(store: Store, commits: broadcast::Receiver<Commit>) -> Self {
        Self { store, commits }
    }

    /// The next commit; waits for it. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Commit {
        match self.commits.recv().await {
            Ok(commit) => commit,
            Err(RecvError::Lagged(_)) => {
                // What is still queued is older than the view taken now, so it is skipped.
                self.commits = self.commits.resubscribe();
                Commit { tables: self.store.view(), changes: Arc::new([]), resync: true }
            }
            // The store owns a sender and this watch owns the store.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

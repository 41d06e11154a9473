//! Watches: the commits that concern a watcher, in order, with the tables as they were after each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::change::Change;
use crate::object::Kind;
use crate::store::Store;
use crate::tables::Tables;

/// A watcher this many commits behind starts anew from the tables instead of reading them one by one.
pub(crate) const COMMITS_WAITING_MAX: usize = 4096;

/// One commit as a watcher sees it.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The tables after the commit.
    pub tables: Tables,
    /// What changed, in order, whether the watcher asked for its table or not; empty where `resync` is set.
    pub changes: Arc<[Change]>,
    /// Commits were missed or a snapshot replaced the state: start anew from `tables`.
    pub resync: bool,
}

/// A stream of the commits that change some tables. It holds back neither writers nor other watchers.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    line: Arc<Line>,
}

/// What a watcher has not read yet.
#[derive(Debug)]
struct Line {
    tables: &'static [Kind],
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    commits: VecDeque<Commit>,
    is_overrun: bool,
}

impl Watch {
    /// The next commit; waits for it. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Commit {
        loop {
            if let Some(commit) = self.take() {
                return commit;
            }
            self.line.news.notified().await;
        }
    }

    fn take(&self) -> Option<Commit> {
        let mut waiting = self.line.waiting();
        if waiting.is_overrun {
            // What still waits is older than the view taken now.
            *waiting = Waiting::default();
            return Some(Commit { tables: self.store.view(), changes: Arc::new([]), resync: true });
        }
        waiting.commits.pop_front()
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_concerned(&self, commit: &Commit) -> bool {
        commit.resync || commit.changes.iter().any(|change| self.tables.contains(&change.kind()))
    }

    fn push(&self, commit: &Commit) {
        let mut waiting = self.waiting();
        if waiting.commits.len() < COMMITS_WAITING_MAX {
            waiting.commits.push_back(commit.clone());
        } else {
            waiting.commits.clear();
            waiting.is_overrun = true;
        }
        drop(waiting);
        self.news.notify_one();
    }
}

/// Who watches a store.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    lines: Mutex<Vec<Weak<Line>>>,
}

impl Watchers {
    /// A watch of these tables, which sees what is told from now on.
    pub(crate) fn add(&self, store: Store, tables: &'static [Kind]) -> Watch {
        let line = Arc::new(Line { tables, waiting: Mutex::default(), news: Notify::new() });
        let mut lines = self.lines();
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line));
        drop(lines);
        Watch { store, line }
    }

    /// Tells those whom it concerns; the others are not woken.
    pub(crate) fn tell(&self, commit: &Commit) {
        let lines = self.lines();
        let lines = lines.iter().filter_map(Weak::upgrade);
        lines.filter(|line| line.is_concerned(commit)).for_each(|line| line.push(commit));
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Weak<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The changes that the control loops have not seen yet, in the order of the transactions that proposed them.
//!
//! Loops are fed from *proposed* changes, so that what follows from a write can be planned, logged and synced with it.
//! Should the commit fail, leadership is lost and the loops start again from the tables.

use crate::change::Change;

/// More waiting changes than this are dropped for a new start from the tables, which then costs less.
const WAITING_MAX: usize = 200_000;

/// What a driver takes at a time.
#[derive(Debug, Default)]
pub struct FeedBatch {
    /// The loops must start anew, by [`crate::Store::begin_feed`]; `changes` is empty then.
    pub resync: bool,
    /// The changes since the last batch, oldest first.
    pub changes: Vec<Change>,
}

/// Where changes wait; idle until a driver attaches.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    attached: bool,
    waiting: FeedBatch,
}

impl Feed {
    /// Begins to collect, from a new start.
    pub(crate) fn attach(&mut self) {
        self.attached = true;
        self.restart();
    }

    pub(crate) fn detach(&mut self) {
        *self = Self::default();
    }

    /// Forgets what waits: the loops have to look at the tables.
    pub(crate) fn restart(&mut self) {
        self.waiting = FeedBatch { resync: true, changes: Vec::new() };
    }

    pub(crate) fn push(&mut self, changes: &[Change]) {
        if !self.attached || self.waiting.resync {
            return;
        }
        if self.waiting.changes.len() + changes.len() > WAITING_MAX {
            return self.restart();
        }
        self.waiting.changes.extend_from_slice(changes);
    }

    /// Forgets what waits, and collects from here on: whoever takes the tables along with it has seen all before.
    pub(crate) fn begin(&mut self) {
        self.waiting = FeedBatch::default();
    }

    pub(crate) fn must_begin(&self) -> bool {
        self.waiting.resync
    }

    pub(crate) fn drain(&mut self) -> FeedBatch {
        std::mem::take(&mut self.waiting)
    }
}

//! One transaction's worth of the control loops: shows them every change, lets them plan, and writes their plans.
//!
//! All loops run in one transaction on the newest proposed tables, each seeing what the others just planned, until
//! nothing is left to plan. So a new service becomes assigned tasks in one log entry, which is synced together with
//! the request that caused it. Not here: when to run a cycle, which is its caller's (the manager's control driver, the
//! simulation), and decisions.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, warn};

use crate::change::{Change, Write};
use crate::control_loop::{ControlLoop, PORTION};
use crate::store::Store;
use crate::transaction::Transaction;

/// One log entry carries as many changes at most; what is planned beyond goes into the next. Keeps entries below 1 MiB,
/// and what others wait for the writer at some ten milliseconds.
const WRITES_PER_ENTRY_MAX: usize = PORTION;
/// The loops react to each other at most so often in a row; more means that two of them disagree.
const ROUNDS_MAX: usize = 32;
/// A clock may go back by as much before the loops start anew: less only delays what they planned by as much.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(1);

/// A plan that takes longer is told, as everybody waits who writes.
const LONG_PLAN: Duration = Duration::from_millis(50);

/// What drives the control loops, between the transactions in which it does.
#[derive(Debug)]
pub struct LoopDriver {
    /// Planned and not yet written.
    backlog: VecDeque<Write>,
    resync: bool,
    /// When the last cycle was.
    last: SystemTime,
}

impl Default for LoopDriver {
    fn default() -> Self {
        Self { backlog: VecDeque::new(), resync: true, last: SystemTime::UNIX_EPOCH }
    }
}

impl LoopDriver {
    /// After a cycle that did not settle, the loops rest this long.
    pub const UNSETTLED_PAUSE: Duration = Duration::from_secs(1);

    /// What was planned and not written is forgotten: the loops start from the tables.
    pub fn restart(&mut self) {
        self.backlog.clear();
        self.resync = true;
    }

    /// Lets the loops start from the tables where they must. Not within a transaction: with many objects it takes
    /// seconds, in which others write.
    pub fn catch_up(&mut self, loops: &mut [Box<dyn ControlLoop>], store: &Store) {
        if let Some((tables, now)) = store.begin_feed(self.resync) {
            self.backlog.clear();
            for control_loop in loops {
                control_loop.resync(now, &tables);
            }
            self.resync = false;
            self.last = now;
        }
    }

    /// One transaction's worth of work; returns how long the loops may rest if nothing happens, or none for ever. Comes
    /// after [`LoopDriver::catch_up`].
    pub fn cycle(
        &mut self,
        loops: &mut [Box<dyn ControlLoop>],
        transaction: &mut Transaction<'_>,
    ) -> Option<Duration> {
        let now = transaction.now();
        // A clock that was set back leaves the loops with instants that are far away now.
        self.resync |= now + CLOCK_STEP_MAX < self.last;
        self.last = now;
        let batch = transaction.drain_feed();
        if batch.resync || self.resync {
            self.restart();
            return Some(Duration::ZERO);
        }
        for change in &batch.changes {
            show(loops, now, transaction, change);
        }
        for _ in 0..ROUNDS_MAX {
            let mut quiet = true;
            for index in 0..loops.len() {
                if self.backlog.is_empty() {
                    let begun = Instant::now();
                    self.backlog.extend(loops[index].plan(now, transaction.tables()));
                    let (took, name) = (begun.elapsed(), loops[index].name());
                    if took >= LONG_PLAN {
                        debug!(name, ?took, writes = self.backlog.len(), "a plan took long");
                    }
                }
                quiet &= self.backlog.is_empty();
                self.write(loops, now, transaction);
                if self.resync || !self.backlog.is_empty() {
                    return Some(Duration::ZERO);
                }
            }
            if loops.iter().any(|control_loop| control_loop.is_behind()) {
                return Some(Duration::ZERO);
            }
            if quiet {
                return rest(loops, now);
            }
        }
        warn!("the control loops did not settle");
        Some(Self::UNSETTLED_PAUSE)
    }

    /// Writes the backlog as far as the entry has room, and shows every loop what came of it.
    fn write(
        &mut self,
        loops: &mut [Box<dyn ControlLoop>],
        now: SystemTime,
        transaction: &mut Transaction<'_>,
    ) {
        while transaction.changes().len() < WRITES_PER_ENTRY_MAX
            && let Some(write) = self.backlog.pop_front()
        {
            if let Err(error) = transaction.write(write) {
                // A request came between a plan and its writing: plan anew.
                debug!(%error, "a planned write no longer fits");
                return self.restart();
            }
            if let Some(change) = transaction.changes().last().cloned() {
                show(loops, now, transaction, &change);
            }
        }
    }
}

fn show(
    loops: &mut [Box<dyn ControlLoop>],
    now: SystemTime,
    transaction: &Transaction<'_>,
    change: &Change,
) {
    for control_loop in loops {
        control_loop.observe(now, transaction.tables(), change);
    }
}

fn rest(loops: &[Box<dyn ControlLoop>], now: SystemTime) -> Option<Duration> {
    let wakeup = loops.iter().filter_map(|control_loop| control_loop.wakeup()).min()?;
    // Not below a millisecond: a loop that names a passed instant must not spin.
    Some(wakeup.duration_since(now).unwrap_or_default().max(Duration::from_millis(1)))
}

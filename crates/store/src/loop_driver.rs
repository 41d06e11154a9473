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
use crate::tables::Tables;
use crate::transaction::Transaction;

/// One log entry carries as many objects at most; what is planned beyond goes into the next. Keeps what others wait for
/// the writer at some ten milliseconds.
const OBJECTS_PER_ENTRY_MAX: usize = PORTION;
/// The loops react to each other at most so often in a row; more means that two of them disagree.
const ROUNDS_MAX: usize = 32;
/// A clock may go back by as much before the loops start anew: less only delays what they planned by as much.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(1);

/// A plan that takes longer is told, as everybody waits who writes.
const LONG_PLAN: Duration = Duration::from_millis(50);

const PAUSE_MIN: Duration = Duration::from_millis(1);

/// How the loops rest after a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Until something happens, and at most for so long.
    UntilFed(Option<Duration>),
    /// For [`Rest::UNSETTLED`], whatever happens: the loops did not come to an end, or could not write.
    Unsettled,
}

impl Rest {
    /// There is more to do.
    pub const AT_ONCE: Self = Self::UntilFed(Some(Duration::ZERO));
    /// How long loops rest that disagree.
    pub const UNSETTLED: Duration = Duration::from_secs(1);

    /// How long it is at most; none where it has no end of its own.
    pub fn length(self) -> Option<Duration> {
        match self {
            Self::UntilFed(length) => length,
            Self::Unsettled => Some(Self::UNSETTLED),
        }
    }
}

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
    /// What was planned and not written is forgotten: the loops start from the tables.
    pub fn restart(&mut self) {
        self.backlog.clear();
        self.resync = true;
    }

    /// What the loops must start from before the next cycle, by [`LoopDriver::catch_up`]; most often nothing.
    pub fn start(&self, store: &Store) -> Option<(Tables, SystemTime)> {
        store.begin_feed(self.resync)
    }

    /// Lets the loops start. Not within a transaction: with many objects it takes seconds, in which others write.
    pub fn catch_up(
        &mut self,
        loops: &mut [Box<dyn ControlLoop>],
        (tables, now): (Tables, SystemTime),
    ) {
        self.backlog.clear();
        for control_loop in loops {
            control_loop.resync(now, &tables);
        }
        self.resync = false;
        self.last = now;
    }

    /// One transaction's worth of work; returns how the loops may rest after it. Comes after [`LoopDriver::start`].
    pub fn cycle(
        &mut self,
        loops: &mut [Box<dyn ControlLoop>],
        transaction: &mut Transaction<'_>,
    ) -> Rest {
        let now = transaction.now();
        // A clock that was set back leaves the loops with instants that are far away now.
        self.resync |= now + CLOCK_STEP_MAX < self.last;
        self.last = now;
        let batch = transaction.drain_feed();
        if batch.resync || self.resync {
            self.restart();
            return Rest::AT_ONCE;
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
                    return Rest::AT_ONCE;
                }
            }
            if loops.iter().any(|control_loop| control_loop.is_behind()) {
                return Rest::AT_ONCE;
            }
            if quiet {
                return rest(loops, now);
            }
        }
        warn!("the control loops did not settle");
        Rest::Unsettled
    }

    /// Writes the backlog as far as the entry has room, and shows every loop what came of it.
    fn write(
        &mut self,
        loops: &mut [Box<dyn ControlLoop>],
        now: SystemTime,
        transaction: &mut Transaction<'_>,
    ) {
        let has_room = |transaction: &Transaction<'_>, write: &Write| {
            (transaction.objects_changed() < OBJECTS_PER_ENTRY_MAX && !transaction.is_full())
                || transaction.concerns(write.object())
        };
        while self.backlog.front().is_some_and(|write| has_room(transaction, write))
            && let Some(write) = self.backlog.pop_front()
        {
            if let Err(error) = transaction.write(write) {
                // A request came between a plan and its writing: plan anew.
                debug!(%error, "a planned write no longer fits");
                return self.restart();
            }
            if let Some(change) = transaction.last().cloned() {
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

fn rest(loops: &[Box<dyn ControlLoop>], now: SystemTime) -> Rest {
    let wakeup = loops.iter().filter_map(|control_loop| control_loop.wakeup()).min();
    // Not below a millisecond: a loop that names a passed instant must not spin.
    let pause = |at: SystemTime| at.duration_since(now).unwrap_or_default().max(PAUSE_MIN);
    Rest::UntilFed(wakeup.map(pause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proposer::ImmediateProposer;

    /// Has nothing to do, and says when it wants to be asked again.
    struct Waits(Duration);

    impl ControlLoop for Waits {
        fn name(&self) -> &'static str {
            "waits"
        }

        fn resync(&mut self, _: SystemTime, _: &Tables) {}

        fn observe(&mut self, _: SystemTime, _: &Tables, _: &Change) {}

        fn plan(&mut self, _: SystemTime, _: &Tables) -> Vec<Write> {
            Vec::new()
        }

        fn wakeup(&self) -> Option<SystemTime> {
            Some(SystemTime::UNIX_EPOCH + self.0)
        }
    }

    #[test]
    fn a_rest_ends_when_something_happens_however_long_it_is() {
        for length in [Duration::from_millis(1), Rest::UNSETTLED, Duration::from_secs(9)] {
            let mut loops: Vec<Box<dyn ControlLoop>> = vec![Box::new(Waits(length))];
            assert_eq!(
                rest(&loops, SystemTime::UNIX_EPOCH),
                Rest::UntilFed(Some(length)),
                "{length:?}"
            );
            let store = ImmediateProposer::store();
            store.attach_feed();
            let mut driver = LoopDriver::default();
            let start = driver.start(&store).expect("nobody has started yet");
            driver.catch_up(&mut loops, start);
            let cycle = store.propose(|transaction| {
                Ok::<_, crate::Error>(driver.cycle(&mut loops, transaction))
            });
            // Its time is long past.
            let (rest, _) = cycle.expect("nothing is written");
            assert_eq!(rest, Rest::UntilFed(Some(PAUSE_MIN)));
        }
    }
}

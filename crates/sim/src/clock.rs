//! The wall clock of the node whose turn it is. Stores take a plain function for a clock, hence the thread's variable;
//! a simulation is one thread.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

/// When every simulation begins.
const EPOCH: Duration = Duration::from_secs(1_600_000_000);

thread_local! {
    static NOW: Cell<SystemTime> = const { Cell::new(SystemTime::UNIX_EPOCH) };
}

/// Makes it a node's turn, whose clock is ahead by so many milliseconds.
pub(crate) fn set(now: Duration, ahead_ms: i64) {
    let base = SystemTime::UNIX_EPOCH + EPOCH + now;
    let ahead = Duration::from_millis(ahead_ms.unsigned_abs());
    NOW.set(if ahead_ms < 0 { base - ahead } else { base + ahead });
}

/// The clock that stores are given.
pub(crate) fn now() -> SystemTime {
    NOW.get()
}

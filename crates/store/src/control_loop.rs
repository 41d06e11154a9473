//! The form of every control loop: a pure state machine that reads tables and plans writes.

use std::time::SystemTime;

use crate::change::{Change, Write};
use crate::tables::Tables;

/// As many writes as a loop plans at a time, roughly: some milliseconds, in which everybody waits who writes.
pub const PORTION: usize = 250;

/// An orchestrator, the allocator, the scheduler and their like, without I/O or a clock of their own.
///
/// The manager's driver shows a loop every change once and in order, its own included, and asks for plans; between
/// `resync` and the loss of leadership a loop may keep derived state. Events are hints: a loop resynchronised from the
/// tables must come to the same plans.
pub trait ControlLoop: Send {
    /// The loop's name in logs.
    fn name(&self) -> &'static str;

    /// Forgets everything and starts from the tables; also when the clock was set back, so no instant that was kept may
    /// be later than it would be if it was decided now.
    fn resync(&mut self, now: SystemTime, tables: &Tables);

    /// Takes note of a change that the tables already contain.
    fn observe(&mut self, now: SystemTime, tables: &Tables, change: &Change);

    /// What to write now. A plan applied and asked for again is empty.
    ///
    /// A plan holds up every writer: a loop that has much to look at leaves the rest for the next, and says so by
    /// [`ControlLoop::is_behind`].
    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write>;

    /// Whether the last plan left something to look at for the next. What was observed since is not meant.
    fn is_behind(&self) -> bool {
        false
    }

    /// When to be asked for a plan next if nothing changes before.
    fn wakeup(&self) -> Option<SystemTime>;
}

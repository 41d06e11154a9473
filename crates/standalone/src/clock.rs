//! The time since this machine was started, which no one can set, and which goes on while the machine is suspended.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment, as the time since the machine's start.
pub(crate) type Moment = Duration;

/// Now.
pub(crate) fn now() -> Moment {
    let time =
        clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had this clock since 2.6.39");
    Duration::from(time)
}

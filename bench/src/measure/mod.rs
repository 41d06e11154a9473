//! The measurements, in the order in which they are made: what kills workers or fills the store comes last.

mod create;
mod failover;
mod leader;
mod load;
mod memory;
mod newcomer;
mod nodes;
mod partition;
mod scale;
mod throughput;
mod well;

use anyhow::Result;

use crate::side::{Form, Side};

/// What figures count in, and where they should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many seconds.
    Seconds(f64),
    /// At most so many megabytes.
    Megabytes(f64),
    /// Per second: at least so many times Docker's.
    TimesDocker(f64),
    /// At least so many per second.
    PerSecond(f64),
    /// At least so many.
    AtLeast(f64),
}

/// The samples of one figure.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) figure: &'static str,
    pub(crate) goal: Goal,
    pub(crate) values: Vec<f64>,
    /// More about the samples that is worth a line.
    pub(crate) note: Option<String>,
}

impl Samples {
    pub(crate) fn new(figure: &'static str, goal: Goal, values: Vec<f64>) -> Self {
        Self { figure, goal, values, note: None }
    }
}

/// A measurement of one side.
type Measure = fn(&mut Side) -> Result<Vec<Samples>>;

/// Measurements of swarms of one form.
pub(crate) struct Suite {
    /// Which machines there are.
    pub(crate) form: Form,
    /// All measurements by name.
    pub(crate) measures: &'static [(&'static str, Measure)],
}

/// All of them.
pub(crate) const SUITES: [Suite; 8] = [
    Suite {
        form: Form { managers: 1, workers: 2, spares: 0 },
        measures: &[
            ("rest", memory::at_rest),
            ("create", create::measure),
            ("scale", scale::measure),
            ("shim", memory::shim),
            ("failover", failover::measure),
            ("throughput", throughput::one_manager),
        ],
    },
    Suite {
        form: Form { managers: 3, workers: 0, spares: 0 },
        measures: &[
            ("managers-throughput", throughput::three_managers),
            ("managers-handover", leader::handover),
            ("managers-leader", leader::lost),
            ("managers-machine", failover::machine_of_leader),
        ],
    },
    Suite {
        form: Form { managers: 3, workers: 0, spares: 0 },
        measures: &[
            ("parted-leader", partition::leader),
            ("parted-mute-leader", partition::mute_leader),
            ("parted-deaf-leader", partition::deaf_leader),
            ("parted-follower", partition::follower),
        ],
    },
    Suite {
        form: Form { managers: 5, workers: 0, spares: 0 },
        measures: &[
            ("five-managers-lose-two", leader::two_lost),
            ("parted-two-of-five", partition::two_of_five),
        ],
    },
    Suite {
        form: Form { managers: 3, workers: 0, spares: 1 },
        measures: &[("newcomer", newcomer::measure)],
    },
    Suite {
        form: Form { managers: 3, workers: 0, spares: 0 },
        measures: &[("crowd", nodes::crowd)],
    },
    Suite {
        form: Form { managers: 3, workers: 0, spares: 0 },
        measures: &[("multitude", nodes::multitude)],
    },
    Suite {
        form: Form { managers: 1, workers: 0, spares: 0 },
        measures: &[("thousand-nodes", nodes::memory)],
    },
];

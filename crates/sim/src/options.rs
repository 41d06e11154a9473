//! What a run is made of beside its seed: how long, and which bug is planted to see whether it is found.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A bug that the simulation puts around a room that has none, to show that its checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The disk says that a batch is flushed while the last few are not: a crash loses them.
    AcknowledgeBeforeFlush,
    /// A member that starts again does not know whom it voted for.
    ForgetVote,
    /// The dispatcher takes some statuses and drops them.
    DropStatus,
    /// The dispatcher writes statuses as they come, also older ones than it has.
    StatusGoesBack,
    /// The dispatcher sends a task to another node as well.
    SendToWrongNode,
    /// Who wants to be a manager is admitted to the group, demoted or not.
    AdmitAnybody,
    /// The scheduler is not shown which ports tasks publish.
    BlindToPorts,
    /// A schedule's tick starts a job, and is not noted. Shows only with [`Options::has_labels`].
    ForgetTick,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AcknowledgeBeforeFlush,
        Self::ForgetVote,
        Self::DropStatus,
        Self::StatusGoesBack,
        Self::SendToWrongNode,
        Self::AdmitAnybody,
        Self::BlindToPorts,
        Self::ForgetTick,
    ];
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(|bug| format!("{bug:?}")).join(", ");
        let found = Self::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
        found.ok_or_else(|| format!("no such bug; there are {}", names()))
    }
}

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long faults happen, in virtual time.
    pub stormy: Duration,
    /// How long everything may take to converge once they are over.
    pub calm_max: Duration,
    /// The planted bug.
    pub bug: Option<Bug>,
    /// Whether clients ask for what Docker does not know: schedules, holds, the return of originals.
    pub has_labels: bool,
    /// Whether the trace is printed as it comes.
    pub is_loud: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stormy: Duration::from_secs(60),
            calm_max: Duration::from_secs(300),
            bug: None,
            has_labels: false,
            is_loud: false,
        }
    }
}

/// As arguments of the command, where they are not the default.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stormy != Self::default().stormy {
            write!(f, " --seconds {}", self.stormy.as_secs())?;
        }
        if self.has_labels {
            write!(f, " --labels")?;
        }
        match self.bug {
            Some(bug) => write!(f, " --bug {bug:?}"),
            None => Ok(()),
        }
    }
}

//! The life of a task on its node, as one pure decision: given where it is and where it should be, what comes next.
//!
//! ```text
//!   ASSIGNED -> ACCEPTED -> PREPARING --prepare--> READY -> STARTING --start--> RUNNING --wait--> COMPLETE
//!                               └─> REJECTED                   └───────> FAILED <──┘
//!   desired SHUTDOWN or later, from any live state: --shutdown--> SHUTDOWN
//! ```
//! Mirrors SwarmKit's `exec.Do`.

use swarm_proto::v1::TaskState;

/// What a controller is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Make everything ready but start nothing: image, container.
    Prepare,
    /// Start the container.
    Start,
    /// Wait until the container ends.
    Wait,
    /// Stop the container.
    Shutdown,
}

/// What comes next for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until the desired state changes.
    Rest,
    /// The state changes without work.
    Advance(TaskState, &'static str),
    /// Work, and the state it leads to where it succeeds.
    Run(Operation, TaskState, &'static str),
}

/// The next step of a task in `state` that should be in `desired`.
pub fn next(state: TaskState, desired: TaskState) -> Step {
    use TaskState as S;
    if desired >= S::Shutdown {
        return match state >= S::Complete {
            true => Step::Rest,
            false => Step::Run(Operation::Shutdown, S::Shutdown, "shutdown"),
        };
    }
    if state > desired {
        return Step::Rest;
    }
    match state {
        S::Preparing => Step::Run(Operation::Prepare, S::Ready, "prepared"),
        S::Starting => Step::Run(Operation::Start, S::Running, "started"),
        S::Running => Step::Run(Operation::Wait, S::Complete, "finished"),
        _ if state >= desired => Step::Rest,
        S::New | S::Pending | S::Assigned => Step::Advance(S::Accepted, "accepted"),
        S::Accepted => Step::Advance(S::Preparing, "preparing"),
        S::Ready => Step::Advance(S::Starting, "starting"),
        _ => Step::Rest,
    }
}

/// Where a task ends whose work failed in `state`: before the start it was never fit to run, afterwards it failed.
pub fn failure(state: TaskState) -> TaskState {
    if state < TaskState::Starting { TaskState::Rejected } else { TaskState::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState as S;

    #[test]
    fn leads_every_live_state_to_its_end() {
        for (state, desired, expect) in [
            (S::Assigned, S::Running, Step::Advance(S::Accepted, "accepted")),
            (S::Accepted, S::Running, Step::Advance(S::Preparing, "preparing")),
            (S::Preparing, S::Running, Step::Run(Operation::Prepare, S::Ready, "prepared")),
            (S::Ready, S::Ready, Step::Rest),
            (S::Ready, S::Running, Step::Advance(S::Starting, "starting")),
            (S::Starting, S::Running, Step::Run(Operation::Start, S::Running, "started")),
            (S::Running, S::Running, Step::Run(Operation::Wait, S::Complete, "finished")),
            (S::Running, S::Complete, Step::Run(Operation::Wait, S::Complete, "finished")),
            (S::Running, S::Ready, Step::Rest),
            (S::Running, S::Shutdown, Step::Run(Operation::Shutdown, S::Shutdown, "shutdown")),
            (S::Assigned, S::Shutdown, Step::Run(Operation::Shutdown, S::Shutdown, "shutdown")),
            (S::Running, S::Remove, Step::Run(Operation::Shutdown, S::Shutdown, "shutdown")),
            (S::Complete, S::Running, Step::Rest),
            (S::Failed, S::Shutdown, Step::Rest),
            (S::Rejected, S::Running, Step::Rest),
        ] {
            assert_eq!(next(state, desired), expect, "{state:?} towards {desired:?}");
        }
    }

    #[test]
    fn failure_depends_on_the_start() {
        for (state, expect) in [
            (S::Preparing, S::Rejected),
            (S::Ready, S::Rejected),
            (S::Starting, S::Failed),
            (S::Running, S::Failed),
        ] {
            assert_eq!(failure(state), expect);
        }
    }
}

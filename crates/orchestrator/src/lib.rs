//! The orchestrators: turn services into tasks, replace tasks that end, update them in step, and remove what is over.
//!
//! ```text
//! services, tasks, nodes, time ──► Enforcer     ──► tasks on nodes that no longer suit them: REJECTED
//!                              ──► Orchestrator ──► tasks created, their desired states, update status of services
//!                              ──► Cron         ──► iterations of jobs that have a schedule
//!                              ──► Reaper       ──► tasks deleted that are only history
//! ```
//!
//! A task is never restarted: it is replaced by a new one in its slot (a number of a replicated service, a node of a
//! global one). Desired states only move forward, but for tasks of a node that is back (`returning`). Pure: time is an argument, identifiers come from a source that is
//! handed in. Deliberately not here: choosing nodes (scheduler) and giving addresses (allocator).
//! Mirrors SwarmKit's package `manager/orchestrator`.

mod backoff;
pub mod cron;
mod defaults;
mod delay;
mod dirty;
mod doubled;
mod due;
mod enforcer;
mod global;
mod history;
mod hold;
mod jobs;
mod moves;
pub mod options;
mod orchestrator;
mod plan;
mod reaper;
mod replicated;
mod restart;
mod returning;
mod slot;
mod task;
mod update;
mod waits;

#[cfg(test)]
mod tests;

pub use cron::Cron;
pub use enforcer::Enforcer;
pub use orchestrator::Orchestrator;
pub use reaper::Reaper;

use swarm_proto::id::IdSource;
use swarm_store::ControlLoop;

/// The control loops of this room, in the order in which a driver runs them; each that makes objects gets a source of
/// identifiers of its own.
pub fn control_loops(ids: impl Fn() -> IdSource) -> Vec<Box<dyn ControlLoop>> {
    vec![
        Box::new(Enforcer::default()),
        Box::new(Orchestrator::new(ids())),
        // After the orchestrator, so that a job that goes on does not look as if it were over.
        Box::new(Cron::default()),
        Box::new(Reaper::default()),
    ]
}

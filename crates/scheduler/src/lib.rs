//! The scheduler: picks a node for every task that waits for one.
//!
//! ```text
//! nodes, tasks (changes) ──► Scheduler ──► tasks PENDING → ASSIGNED, or the reason why not in status.err
//! ```
//!
//! Pure: no I/O, no clock, no randomness. The store is written elsewhere, from the plan that comes out of here.
//! Deliberately not here: creating and replacing tasks (orchestrator), addresses and ports (allocator).
//! Mirrors SwarmKit's packages `manager/scheduler`, `manager/constraint` and `api/genericresource`.

pub mod affinity;
pub mod balance;
pub mod constraint;
pub mod generic;
pub mod reason;

mod decision;
mod demand;
mod failures;
mod filter;
mod neighbours;
mod node;
mod nodes;
mod placing;
mod scheduler;
mod spread;
mod waiting;

#[cfg(test)]
mod tests;

pub use constraint::Constraint;
pub use scheduler::Scheduler;

use swarm_store::ControlLoop;

/// The control loops of this room, in the order in which a driver runs them.
pub fn control_loops() -> Vec<Box<dyn ControlLoop>> {
    vec![Box::new(Scheduler::default())]
}

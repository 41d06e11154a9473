//! The allocator: gives services and tasks what they need of the cluster's networks before they are scheduled.
//!
//! ```text
//! services, networks, tasks NEW (changes) ──► Allocator ──► service endpoints, tasks NEW → PENDING
//! ```
//!
//! Each kind of thing that is given out is a file of its own: endpoints and attachments today; subnets, virtual IPs
//! and ingress ports join them as siblings. What none of them can give yet is refused by the control service, so that
//! no task waits here for ever. Pure: no I/O, no clock. Mirrors SwarmKit's package `manager/allocator`.

mod allocator;
mod attachment;
mod endpoint;

pub use allocator::Allocator;

use swarm_store::ControlLoop;

/// The control loops of this room, in the order in which a driver runs them.
pub fn control_loops() -> Vec<Box<dyn ControlLoop>> {
    vec![Box::new(Allocator::default())]
}

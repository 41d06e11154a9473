//! What a manager runs: its services, and while it leads the control loops, the dispatcher, the log broker and the
//! certificate signer.
//!
//! ```text
//!   Manager ── routes ──> Control, Dispatcher, Logs, LogBroker, NodeCA, CA, Health
//!      └── Duties (while leading) ──> control_driver (orchestrator, allocator, scheduler), dispatcher, signer
//! ```
//!
//! Not here: decisions (the pure rooms below) and a member's life around the manager (the room `node`). Mirrors
//! SwarmKit's package `manager`.

mod failure;
mod control;
mod control_driver;
mod founding;
mod group;
mod health;
mod log_broker;
mod manager;
mod term;
mod node_ca;

pub use control::{Control, RaftMember, RaftMembership};
pub use log_broker::LogBroker;
pub use node_ca::{NodeCaService, Signer};
pub use founding::Founding;
pub use manager::{Manager, ManagerConfig, ManagerError};

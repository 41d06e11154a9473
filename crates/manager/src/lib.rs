//! What a manager runs: its services, and while it leads the control loops, the dispatcher, the log broker and the
//! certificate signer.
//!
//! ```text
//!   Manager ── forward ──> Control, Dispatcher, Logs, LogBroker, NodeCA, CA, RaftMembership   (here or at the leader)
//!      ├── group ──> Raft, Health; the way to the other managers
//!      └── Duties (while leading) ──> control_driver (orchestrator, allocator, scheduler), dispatcher, signer, roles
//! ```
//!
//! Not here: decisions (the pure rooms below) and a member's life around the manager (the room `node`). Mirrors
//! SwarmKit's package `manager`.

mod backup;
mod control;
mod control_driver;
mod failure;
mod forward;
mod founding;
mod gate;
mod group;
mod health;
mod log_broker;
mod log_keys;
mod manager;
mod member_file;
mod metrics;
mod node_ca;
mod presence;
mod reform;
mod role_manager;
pub mod roles;
mod services;
mod term;

pub use backup::{Backup, BackupError, BackupFolder, BackupSource, Revival, write_file};
pub use control::{Control, RaftMember, RaftMembership};
pub use founding::Founding;
pub use log_broker::LogBroker;
pub use manager::{Manager, ManagerConfig, ManagerError};
pub use member_file::MemberFileError;
pub use metrics::{ManagerMetrics, View};
pub use node_ca::{NodeCaService, Rotator, Signer};

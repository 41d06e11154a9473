//! One member's life: init, join, leave, and what runs while it is a member.
//!
//! ```text
//!   Node (none | member) ──init/join──> Membership: an agent, on managers a Manager, the certificate's renewal
//! ```
//!
//! Not here: what a manager or an agent does (their rooms) and how a request looks on the wire (the room `api`).
//! Mirrors SwarmKit's package `node` and moby's `daemon/cluster`.

mod addresses;
mod backups;
mod connector;
mod error;
mod founding;
mod joining;
mod leaving;
mod membership;
mod moving;
mod named;
mod node;
mod options;
mod post;
mod reattach;
mod recovery;
mod remotes;
mod state;
mod unlocking;

pub use error::{NodeError, NodeErrorClass};
pub use node::Node;
pub use options::{InitOptions, JoinOptions, LocalState, NodeConfig, NodeStatus, RestoreOptions};
pub use swarm_manager::{BackupError, BackupFolder, write_file};

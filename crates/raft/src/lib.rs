//! A member of the managers' Raft group.
//!
//! Three rooms: [`core`] decides and does no I/O, [`log`] keeps entries on disk, [`driver`] is the one thread that
//! carries out what the core commands. [`store_adapter`] ties a member to the object store. What is deliberately not
//! here: the network (a [`Transport`] is handed in), who may join, and keys (a [`Sealer`] is handed in).
//! Mirrors SwarmKit's package `manager/state/raft`; the algorithm is the `raft` crate's, a port of etcd's.

pub mod core;
pub mod driver;
pub mod error;
pub mod log;
pub mod metrics;
pub mod sealer;
pub mod store_adapter;
pub mod wire;

pub use driver::{
    Capture, Committed, Leadership, MachineError, MemberChange, Outgoing, RaftConfig, RaftNode,
    Role, Seed, StateMachine, Status, Stepped, Transport,
};
pub use error::RaftError;
pub use log::{LogError, LogStore, Position, has_log};
pub use sealer::{Plain, SealError, Sealer};
pub use store_adapter::{Members, RaftProposer, StoreMachine};
pub use wire::Peer;

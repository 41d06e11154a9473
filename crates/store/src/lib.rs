//! The cluster's state: typed tables with indexes, transactions, watches and snapshots.
//!
//! ```text
//!   update(closure) ──> Transaction on the newest *proposed* tables ──> Proposer (Raft) ──> disk, majority
//!                                                                            │ committed(ticket) / apply(body)
//!   view() <── committed Tables <────────────────────────────────────────────┘──> watch(): Commit, Commit, …
//! ```
//!
//! Tables are persistent maps, so a view is one pointer and readers never block the writer. One writer runs the
//! transactions in order, each on the outcome of the one before, without waiting for its commit (group commit); a
//! caller's answer waits for its own. Not here: consensus (the room `raft` implements [`Proposer`]) and decisions
//! (rooms that implement [`ControlLoop`]). Mirrors SwarmKit's package `manager/state/store`.

mod change;
mod control_loop;
mod entry;
mod error;
mod feed;
mod loop_driver;
pub mod metrics;
mod object;
mod outcome;
mod proposer;
mod sharing;
mod snapshot;
mod store;
mod table;
mod tables;
mod transaction;
mod watch;

pub use change::{Change, Delta, Write};
pub use control_loop::{ControlLoop, PORTION};
pub use error::Error;
pub use feed::FeedBatch;
pub use loop_driver::{LoopDriver, Rest};
pub use object::{Kind, Object};
pub use proposer::{ImmediateProposer, Proposal, ProposeError, Proposer};
pub use store::Store;
pub use tables::Tables;
pub use transaction::Transaction;
pub use watch::{Commit, Watch};

/// The name of the one cluster object, as SwarmKit's `store.DefaultClusterName`.
pub const DEFAULT_CLUSTER_NAME: &str = "default";

//! What agents talk to: sessions, heartbeats, assignments and statuses, while this manager leads.
//!
//! ```text
//!   gRPC call ──> service ──> Core::step(now, Event) ──> Command ──> hub (streams), writer (store)
//!   store commit ──> leadership ──> hub wakes the node's streams ──> each compares the tables with what it sent
//! ```
//!
//! Mirrors SwarmKit's `manager/dispatcher`, field for field, so that stock engines take it for their own. Not here:
//! replacing the tasks of dead nodes (swarm-orchestrator, which sees the node's state DOWN), and logs (swarm-manager).
//!
//! # When a node is dead
//!
//! SwarmKit gives every agent three heartbeats of 5 s, so a dead worker's tasks are replaced after 16 s. Here:
//!
//! - Our own agents say so (metadata [`AGENT_HEADER`] on `Session`) and are told a period of half a second; 3 s of
//!   silence are death. They beat on a path of their own (the room `pulse`), and are asked before they are given up.
//!   Where the cluster's period is set beyond its usual 5 s, both grow with it; three periods below a second are less.
//!   Stock engines keep the cluster's period, spread by half a second, and three of it.
//! - A session stream that ends makes the node *suspect*, whichever agent it runs: the kernel closes the connections of
//!   a killed daemon at once. From then on 3 s without a new session or a heartbeat are death. A daemon that is back
//!   within them keeps all its tasks; so does one whose connection only broke, since agents reconnect in milliseconds.
//! - When the manager itself stood still for over a second, nobody dies of it: all get 3 s to be heard.
//! - When all other nodes of several fall silent at once, without closing a connection, this manager is probably cut
//!   off: nobody dies before SwarmKit's 15 s, unless another node is heard again.
//! - A registration that is put off by the rate limit is a sign of life too.
//! - When a manager begins to lead, every node is *unknown* and has time to find it: 3 s with our own agents, which look
//!   for a new leader after a second of silence, twice SwarmKit's grace with others.
//!
//! Down nodes are remembered for 24 hours; then their unfinished tasks become ORPHANED.

mod assignments;
mod batch;
mod caller;
mod config;
mod core;
mod error;
mod hub;
mod leadership;
mod messages;
mod news;
mod pulses;
mod service;
mod stream;
mod writer;

pub use crate::core::{Command, Core, Event, KnownNode, Registration, StreamId};
pub use assignments::AssignmentSet;
pub use batch::{Batch, NodeUpdate};
pub use caller::authorizer;
pub use config::{Config, Timing};
pub use error::SessionError;
pub use leadership::Peers;
pub use messages::Sequence;
pub use news::News;
pub use service::Dispatcher;
pub use stream::{Messages, Waiting, channel};

/// The metadata key by which our own agents announce on `Session` that they take short heartbeats; any value counts.
pub const AGENT_HEADER: &str = "swarm-agent";

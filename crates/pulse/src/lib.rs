//! Heartbeats on a path of their own: datagrams that neither bulk work, load nor TCP's pauses can delay.
//!
//! ```text
//!   node:     Heart (a thread) ── beat ──> manager: Listener (a thread) ── Wards ── "the node lives"
//!                  ^──────────── answer, ask ───────┘
//! ```
//!
//! A beat that is lost costs a sixth of a second, not TCP's doubled waits; a thread of its own with a raised priority
//! sends and takes them, whatever else the machine does. The manager invites a node when it registers, over mutual TLS,
//! with the node's own key; every datagram carries the invitation's number, one that only grows, and a tag made with the
//! key. A node that falls silent is asked before anyone gives it up. A node whose beats are not answered sends them to the
//! other managers too: the keys come from a secret that all managers have, so that a new leader hears who lives before
//! they find the time to register with it. Where datagrams don't get through (a firewall that opens
//! the managers' port for TCP only), the gRPC heartbeats go on alone, as they do with stock engines, which know nothing
//! of this.
//!
//! SwarmKit has nothing like it. Not here: who is dead (the room `dispatcher`), and what a node does about a manager
//! that is silent (the room `agent`).

mod datagram;
mod heart;
mod key;
mod listener;
mod priority;
mod rhythm;
mod wards;

pub use heart::{Heart, Pulse};
pub use key::{Invitation, InvitationError, SECRET_BYTES};
pub use listener::{Beats, Listener};
pub use priority::raise_priority;
pub use wards::Wards;

/// The metadata of a session's beginning that invites the node, see [`Invitation`].
pub const INVITATION_HEADER: &str = "swarm-pulse";

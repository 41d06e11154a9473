//! Whole clusters in one thread, with virtual time and a simulated network, from one seed.
//!
//! ```text
//!   seed ──> World: queue of events ──> Manager: real Raft member, store, loops, dispatcher core, over a Disk
//!               │  ^                ──> Worker:  real task life, over an Engine
//!               │  └── effects ── Net (loss, delay, cuts) <──┘
//!               └── Checks at every step; when the faults are over, everything must converge
//! ```
//!
//! The rooms are the real ones; simulated is what touches a wire, a clock or a container. Not here: gRPC, signatures,
//! containers, and encryption, which their rooms test against the real thing.
//! docs/simulation.md says what is covered and how to replay.

mod agent;
mod authority;
mod certificate;
mod checks;
mod client;
mod clock;
mod disk;
mod dispatcher;
mod engine;
mod env;
mod faults;
mod group;
mod machines;
mod manager;
mod net;
mod operator;
mod options;
mod planted;
mod random;
mod reports;
mod requests;
mod run;
mod seat;
mod term;
mod torn;
mod trace;
mod traffic;
mod worker;
mod world;

pub use options::{Bug, Options};
pub use run::{Failure, Report, run};

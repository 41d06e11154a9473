//! Cats or dogs: the voting application of "Try Swarm at scale", as an example of what runs on a cluster.
//!
//! ```text
//!  browser ──> front end ──> Redis on the same node ══╗
//!  browser ──> front end ──> Redis on the same node ══╬══> worker ──> Postgres ──> results page
//! ```
//!
//! A vote that was acknowledged is counted, and no vote twice, whatever dies in between:
//!
//! 1. `front_end` acknowledges a vote once Redis has it on disk (`queue::Inbox`).
//! 2. `worker` removes a vote from Redis after Postgres has committed it (`queue::Outbox`, `ledger`), so it may see a
//!    vote again, never lose one.
//! 3. `ballot` orders the votes of one voter, so that a vote seen again, or late, changes nothing.
//!
//! The executables under `bin/` read their settings and call one room each. `crowd` is a load of voters that knows
//! afterwards what must have been counted.

pub mod backoff;
pub mod ballot;
pub mod cookie;
pub mod crowd;
pub mod front_end;
pub mod ledger;
pub mod queue;
pub mod results;
pub mod server;
pub mod settings;
pub mod worker;

//! The core of a member: the `raft` crate's state machine over a window of the log in memory, without any I/O.
//!
//! In come ticks, messages, proposals and the news that something was persisted or applied ([`Member`]'s methods);
//! out come [`Command`]s, to be carried out in order. The pattern is the `raft` crate's asynchronous ready.

pub mod command;
pub mod member;
pub mod window;

#[cfg(test)]
mod tests;

pub use command::{Change, Command, Persist};
pub use member::{Member, MemberOptions};
pub use window::Window;

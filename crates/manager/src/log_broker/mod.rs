//! Logs of tasks, gathered from the nodes that run them, while this manager leads.
//!
//! ```text
//!   client ── SubscribeLogs ──> Registry ──> ListenSubscriptions ──> agents of the tasks' nodes
//!   client <── outbox (bounded) <── PublishLogs <───────────────────────┘
//! ```
//!
//! A subscription that does not follow ends when all its nodes are done. A node that cannot be reached counts as done
//! at once and is named in the error at the end, so nothing ever waits for a dead node; one that follows gets a line instead. A client that reads slowly
//! slows the agents that publish to it, and nobody else. Mirrors SwarmKit's `manager/logbroker`.

mod feed;
mod publish;
mod registry;
mod service;
mod subscribe;
mod term;

pub use service::LogBroker;

#[cfg(test)]
mod tests;

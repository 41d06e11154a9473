//! Standalone Swarm, the first generation: a manager that makes a pool of Docker Engines look like one.
//!
//! ```text
//!  docker CLI ──HTTP──> manager ──┬── discovery (which engines there are)
//!                                 ├── cluster   (what each engine has, by its events)
//!                                 ├── scheduler (pure: filters, strategy ─► an engine)
//!                                 └──HTTP──> Docker Engines
//! ```
//!
//! Takes the command lines, environment variables and expressions of docker/swarm 1.2.9 unchanged. It shares with swarm mode the
//! executable, and how `docker ps` tells spans of time.

mod api;
mod clock;
mod cluster;
mod commands;
mod container_config;
mod discovery;
mod duration;
mod election;
mod engine;
#[cfg(test)]
mod hostile;
mod leadership;
pub mod log;
mod open_files;
mod scheduler;
mod store;
mod text;
mod tls;

pub use commands::run;

/// Writes to standard output; whoever closed it needs nothing more.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error.
fn print_error(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

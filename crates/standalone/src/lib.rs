//! Standalone Swarm, the first generation: a manager that makes a pool of Docker Engines look like one.
//!
//! ```text
//!  docker CLI ──HTTP──> manager ──┬── discovery (which engines there are)
//!                                 ├── cluster   (what each engine has, by its events)
//!                                 ├── scheduler (pure: filters, strategy ─► an engine)
//!                                 └──HTTP──> Docker Engines
//! ```
//!
//! Takes the command lines, environment variables and expressions of docker/swarm 1.2.9 unchanged. It shares nothing with
//! swarm mode but the executable.

#![allow(dead_code, unused_imports, reason = "the manager is not wired yet")]

mod api;
mod cluster;
mod container_config;
mod discovery;
mod duration;
mod engine;
mod scheduler;
mod text;

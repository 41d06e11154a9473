//! The embedded container engine: containers, images, volumes and registries on one machine.
//!
//! [`Engine`] is the door: the API and the agent talk to it and to nothing below. Every container runs under a shim
//! process of its own ([`shim`]), so containers outlive the daemon; a new daemon adopts what it finds running. The
//! vocabulary is the Docker Engine API's (`bollard_stubs::models`), so that no third set of names exists between the
//! API and here. What a node does to the kernel's network is not here but in `swarm-network`.

mod cgroup;
mod config;
mod container;
mod engine;
pub mod error;
pub mod events;
pub mod image;
pub mod registry;
mod rootfs;
mod seccomp;
pub mod shim;
mod spec;
pub mod timestamp;
pub mod volume;

pub use config::{EngineConfig, LogDefaults};
pub use container::health::Verdict;
pub use container::list::{ListOptions, human_duration};
pub use container::logs::{LogEntry, LogOptions, LogSource};
pub use container::wait::WaitCondition;
pub use container::{ContainerId, PruneReport};
pub use engine::Engine;
pub use error::{Error, ErrorClass, Result};

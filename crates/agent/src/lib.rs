//! The agent: what a worker runs. It holds a session with a manager, drives one controller per assigned task, reports
//! what became of it, and remembers its tasks so that a restart disturbs no container.
//!
//! ```text
//!   session ──assignments──> Worker ──> TaskManager (one per task) ──> Controller ──> engine
//!      ^                                     │ status
//!      └──────── UpdateTaskStatus <── Reporter┘
//! ```
//!
//! Not here: containers themselves (the room `engine`) and any decision about where tasks run. Mirrors SwarmKit's
//! packages `agent` and `agent/exec`.

mod agent;
mod container;
mod controller;
mod database;
mod dependencies;
mod logs;
mod reporter;
mod session;
mod task_manager;
mod trouble;
mod vigil;
mod worker;

pub use agent::{Agent, AgentConfig, Connection, Connector};
pub use container::{
    ContainerExecutor, ExecutorConfig, GenericResourceError, parse_generic_resources,
};
pub use controller::{Controller, ControllerError, Executor, LogSink};
pub use dependencies::Dependencies;

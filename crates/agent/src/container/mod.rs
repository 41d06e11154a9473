//! Tasks as containers of the embedded engine.
//!
//! [`spec`] says purely what container a task is; the controller creates and follows it; the executor describes the
//! machine. Mirrors moby's `daemon/cluster/executor/container`.

mod controller;
mod executor;
mod generic;
mod pull;
mod spec;

pub use executor::{ContainerExecutor, ExecutorConfig};
pub use generic::{GenericResourceError, parse_generic_resources};

//! Tasks as containers of the embedded engine.
//!
//! [`expand`] fills in the templates of a task, [`spec`] says purely what container it is; the controller creates and follows it; the executor describes the
//! machine. Mirrors moby's `daemon/cluster/executor/container`.

mod controller;
mod executor;
mod expand;
mod generic;
mod mounts;
mod privileges;
mod pull;
mod spec;

pub use executor::{ContainerExecutor, ExecutorConfig};
pub use generic::{GenericResourceError, parse_generic_resources};

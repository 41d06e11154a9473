//! The border between a task and what runs it: an executor makes a controller for each task.
//!
//! Mirrors SwarmKit's `agent/exec`.

use std::sync::Arc;

use async_trait::async_trait;
use swarm_proto::v1::{
    ContainerStatus, LogMessage, LogSubscriptionOptions, Node, NodeDescription, PortStatus, Task,
};
use tokio::sync::mpsc;

use crate::dependencies::Dependencies;

/// Why an operation on a task failed.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The task cannot succeed; the text goes into its status.
    #[error("{0}")]
    Fatal(String),
    /// The container ended by itself with a failure.
    #[error("{}", exit_text(*.code, .reason))]
    Exited {
        /// The exit code; 128 + N for signal N.
        code: i32,
        /// What else is known, such as an out-of-memory kill; may be empty.
        reason: String,
    },
    /// May succeed when tried again; the text goes into the status meanwhile.
    #[error("{0}")]
    Temporary(String),
}

fn exit_text(code: i32, reason: &str) -> String {
    // SwarmKit's words: "task: non-zero exit (1)", with the cause behind a colon.
    match reason {
        "" => format!("task: non-zero exit ({code})"),
        reason => format!("task: non-zero exit ({code}): {reason}"),
    }
}

/// Where log lines of a task go.
pub type LogSink = mpsc::Sender<LogMessage>;

/// Runs one task. Every operation may be called again after it was cut short, and after a restart of the daemon.
#[async_trait]
pub trait Controller: Send + Sync {
    /// Makes everything ready that the start needs.
    async fn prepare(&self) -> Result<(), ControllerError>;

    /// Starts the task; succeeds where it runs already.
    async fn start(&self) -> Result<(), ControllerError>;

    /// Waits for its end; an end with a failure is [`ControllerError::Exited`].
    async fn wait(&self) -> Result<(), ControllerError>;

    /// Stops it, gracefully first; succeeds where nothing runs.
    async fn shutdown(&self) -> Result<(), ControllerError>;

    /// Removes every trace of it from the node.
    async fn remove(&self) -> Result<(), ControllerError>;

    /// What is known of the container; none before there is one.
    async fn container_status(&self) -> Option<ContainerStatus>;

    /// The ports that the task holds on this node; none where it publishes none.
    async fn port_status(&self) -> Option<PortStatus>;

    /// Sends the task's log lines until their end, or for ever where they are followed.
    async fn logs(
        &self,
        options: LogSubscriptionOptions,
        sink: LogSink,
    ) -> Result<(), ControllerError>;
}

/// Knows the machine and makes controllers.
#[async_trait]
pub trait Executor: Send + Sync {
    /// The machine: platform, resources, engine.
    async fn describe(&self) -> NodeDescription;

    /// Takes note of what the managers say of this node.
    async fn configure(&self, node: &Node);

    /// Removes what is left of the cluster's tasks when the node leaves it.
    async fn leave(&self);

    /// A controller for a task.
    fn controller(&self, task: &Task, dependencies: Arc<Dependencies>) -> Arc<dyn Controller>;
}

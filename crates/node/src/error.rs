//! Why a change of membership was refused or failed, in Docker's words.

/// What kind of refusal it is; the API maps it to an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeErrorClass {
    /// The request is wrong.
    InvalidParameter,
    /// The node is in a state, or the cluster out of reach, so that it cannot be done now.
    Unavailable,
    /// The node is in another state than the request supposes.
    Conflict,
    /// The key is not the right one.
    Unauthorized,
    /// Something underneath failed.
    System,
}

/// A refusal, or a failure, with the text that users see.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NodeError {
    class: NodeErrorClass,
    message: String,
}

impl NodeError {
    /// The class, which decides the HTTP status.
    pub fn class(&self) -> NodeErrorClass {
        self.class
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { class: NodeErrorClass::InvalidParameter, message: message.into() }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { class: NodeErrorClass::Unavailable, message: message.into() }
    }

    pub(crate) fn system(message: impl Into<String>) -> Self {
        Self { class: NodeErrorClass::System, message: message.into() }
    }

    pub(crate) fn already_in_swarm() -> Self {
        Self::unavailable(
            "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.",
        )
    }

    pub(crate) fn no_swarm() -> Self {
        Self::unavailable("This node is not part of a swarm")
    }

    /// The membership did not start with the daemon; `error` says why.
    pub(crate) fn not_started(error: &str) -> Self {
        Self::unavailable(format!(
            "This node is part of a swarm, but could not start as such: {error}. It is tried again by itself; to give it up, run \"docker swarm leave --force\"."
        ))
    }

    pub(crate) fn leaves_broken(why: &str) -> Self {
        Self::unavailable(format!(
            "This node is part of a swarm, but could not start as such ({why}). Leaving erases what is left of its data: keep a copy, and use `--force` to leave all the same."
        ))
    }

    pub(crate) fn nothing_to_force() -> Self {
        Self::unavailable(
            "This node is not part of a swarm, so there is no state to make a new cluster of. Use \"docker swarm init\" without --force-new-cluster for an empty swarm, or put a manager's data in place first.",
        )
    }

    pub(crate) fn not_a_manager() -> Self {
        Self::unavailable(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        )
    }

    pub(crate) fn worker() -> Self {
        Self::unavailable(
            "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.",
        )
    }

    /// The manager of this node is down; `trouble` says why.
    pub(crate) fn manager_down(trouble: &str) -> Self {
        Self::unavailable(format!(
            "The manager of this node has stopped: {trouble}. It starts again by itself once that is mended; until then use another manager. Containers go on running."
        ))
    }

    pub(crate) fn locked() -> Self {
        Self::unavailable(
            "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it.",
        )
    }

    pub(crate) fn leaves_locked() -> Self {
        Self::unavailable(
            "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message.",
        )
    }

    pub(crate) fn not_locked() -> Self {
        Self { class: NodeErrorClass::Conflict, message: "swarm is not locked".to_owned() }
    }

    pub(crate) fn wrong_key() -> Self {
        let message = "swarm could not be unlocked: invalid key provided".to_owned();
        Self { class: NodeErrorClass::Unauthorized, message }
    }

    pub(crate) fn join_timeout() -> Self {
        Self::unavailable(
            "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the \"docker info\" command to see the current swarm status of your node.",
        )
    }
}

//! The engine's one error type: a class, which the API maps to an HTTP status, and the message that users see.
//!
//! Messages are part of Docker's API (clients and people match on them), so the place that fails words them; the cause
//! travels as the source. Classes follow moby's `errdefs`.

use std::error::Error as StdError;

/// What kind of trouble an [`Error`] is; decides the HTTP status (moby: `errdefs` and `httpstatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The named object does not exist (404).
    NotFound,
    /// The request contradicts the object's state (409).
    Conflict,
    /// The request itself is wrong (400).
    InvalidParameter,
    /// Credentials are missing or wrong (401).
    Unauthorized,
    /// The request is understood and refused (403).
    Forbidden,
    /// What is needed to answer is out of reach now (503).
    Unavailable,
    /// Already so; nothing was done (304).
    NotModified,
    /// The engine does not have the feature (501).
    NotImplemented,
    /// Anything that failed underneath (500).
    System,
}

/// An engine failure: class, message for the user, and cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    class: ErrorClass,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Shorthand for results of engine operations.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `class` with the message that the user will see.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), source: None }
    }

    /// The object does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::NotFound, message)
    }

    /// The object's state does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Conflict, message)
    }

    /// The request is malformed or contradictory.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::InvalidParameter, message)
    }

    /// Something underneath failed.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::System, message)
    }

    /// Attaches the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The class, which decides the HTTP status.
    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

/// Words a failed system operation: `what: cause`.
pub(crate) fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    move |cause| Error::system(format!("{what}: {cause}")).with_source(cause)
}

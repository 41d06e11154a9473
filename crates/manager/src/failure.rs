//! Why a request was refused, on its way to becoming a gRPC status.
//!
//! Store errors that SwarmKit's services pass on unchanged have code `Unknown` there, and clients know the texts.

use swarm_store::Error;
use tonic::{Code, Status};

/// A refusal inside a transaction or handler; becomes the caller's [`Status`].
#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused by a rule of ours.
    Refused(Box<Status>),
    /// Refused by the store.
    Store(Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Refused(Box::new(status))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Store(error)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(status) => *status,
            Failure::Store(error) => Status::new(code(&error), error.to_string()),
        }
    }
}

fn code(error: &Error) -> Code {
    match error {
        Error::NotLeader | Error::LeadershipLost | Error::Log(_) => Code::Unavailable,
        Error::Undecodable { .. } => Code::Internal,
        Error::Exists { .. }
        | Error::NotFound { .. }
        | Error::NameConflict { .. }
        | Error::OutOfSequence { .. } => Code::Unknown,
    }
}

//! One error for every answer that is not a success: a message for people and a class that decides the HTTP status.
//!
//! The classes are moby's `errdefs`; the texts come from whoever refuses. Nothing here knows a resource.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use tonic::Code;

/// Why a request was refused, as far as its HTTP status is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request itself is wrong: 400.
    InvalidParameter,
    /// Credentials are missing or wrong: 401.
    Unauthorized,
    /// The request is understood and never allowed: 403.
    Forbidden,
    /// What it names does not exist: 404.
    NotFound,
    /// It contradicts the present state: 409.
    Conflict,
    /// The body exceeds its limit: 413.
    TooLarge,
    /// The daemon failed: 500.
    System,
    /// This daemon lacks the feature: 501.
    NotImplemented,
    /// Not now, perhaps later or elsewhere: 503.
    Unavailable,
    /// The state asked for is the present one: 304, without a body.
    NotModified,
}

impl Class {
    /// The HTTP status that Docker answers for this class.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::System => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotModified => StatusCode::NOT_MODIFIED,
        }
    }
}

/// A refusal: its class and the message that the client shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Decides the HTTP status.
    pub class: Class,
    /// What the client shows, in Docker's words.
    pub message: String,
}

impl ApiError {
    /// A refusal of the given class.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Class::InvalidParameter, message)
    }

    /// What the request names does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Class::NotFound, message)
    }

    /// This daemon lacks the feature.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(Class::NotImplemented, message)
    }

    /// Not now, perhaps later or elsewhere.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Class::Unavailable, message)
    }

    /// The daemon failed.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Class::System, message)
    }
}

impl From<tonic::Status> for ApiError {
    /// Clients know the text that Go's gRPC library prints, so an error of the cluster keeps that form.
    fn from(status: tonic::Status) -> Self {
        let class = match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                Class::InvalidParameter
            }
            Code::NotFound => Class::NotFound,
            Code::AlreadyExists | Code::Aborted => Class::Conflict,
            Code::PermissionDenied => Class::Forbidden,
            Code::Unauthenticated => Class::Unauthorized,
            Code::Unimplemented => Class::NotImplemented,
            Code::Unavailable => Class::Unavailable,
            _ => Class::System,
        };
        Self::new(
            class,
            format!("rpc error: code = {:?} desc = {}", status.code(), status.message()),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.class.status();
        if status == StatusCode::NOT_MODIFIED {
            return status.into_response();
        }
        tracing::debug!(status = status.as_u16(), message = self.message, "request refused");
        (status, Json(json!({ "message": self.message }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_codes_become_docker_statuses() {
        let table = [
            (Code::InvalidArgument, 400),
            (Code::FailedPrecondition, 400),
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::PermissionDenied, 403),
            (Code::Unauthenticated, 401),
            (Code::Unimplemented, 501),
            (Code::Unavailable, 503),
            (Code::Unknown, 500),
        ];
        for (code, status) in table {
            let error = ApiError::from(tonic::Status::new(code, "why"));
            assert_eq!(error.class.status().as_u16(), status, "{code:?}");
            assert_eq!(error.message, format!("rpc error: code = {code:?} desc = why"));
        }
    }
}

//! Answers of the manager's own: JSON, and errors as plain text, as the original gives them.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::cluster::CreateError;
use crate::engine::EngineError;
use crate::scheduler::PlacementError;

/// An error's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

pub(crate) type Reply = Result<Response<Body>, Failure>;

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn answer(self) -> Response<Body> {
        tracing::error!(status = self.status.as_u16(), "HTTP error: {}", self.message);
        let mut response = (self.status, format!("{}\n", self.message)).into_response();
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused { status, message } => Self { status, message },
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<PlacementError> for Failure {
    fn from(error: PlacementError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::NameTaken(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            CreateError::Engine(error) => error.into(),
            other => Self::internal(other.to_string()),
        }
    }
}

/// JSON with 200.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    json_with(StatusCode::OK, value)
}

/// A list as JSON, each entry written before the next one is made: tens of thousands at once would take much memory.
pub(crate) fn json_list(entries: impl Iterator<Item = impl Serialize>) -> Reply {
    let mut text = vec![b'['];
    for (number, entry) in entries.enumerate() {
        if number > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, &entry)
            .map_err(|error| Failure::internal(error.to_string()))?;
    }
    text.push(b']');
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// JSON with a status.
pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Reply {
    let text =
        serde_json::to_string(value).map_err(|error| Failure::internal(error.to_string()))?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// A status and nothing else.
pub(crate) fn empty(status: StatusCode) -> Reply {
    Ok(status.into_response())
}

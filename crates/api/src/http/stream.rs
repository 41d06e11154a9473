//! Answers that go on: JSON lines as they come, each in a chunk of its own.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::error::ApiError;

/// One line of JSON with Docker's line ending.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    line.into()
}

/// A stream of JSON objects; the head is sent at once.
pub(crate) fn json_lines<T: Serialize + 'static>(
    items: impl Stream<Item = T> + Send + 'static,
) -> Response {
    streaming("application/json", items.map(|item| Ok(json_line(&item))))
}

/// A body that is sent as it comes; the head goes out at once, before the first chunk is there.
pub(crate) fn streaming(
    content_type: &'static str,
    chunks: impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

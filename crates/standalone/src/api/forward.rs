//! Requests that are passed on to an engine as they came, and its answers back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::{Request, header};
use http_body_util::{BodyExt as _, Limited};

use super::reply::Reply;
use super::route::without_version;
use crate::engine::Engine;

/// No refusal may be larger, or take longer to tell.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Passes a request on under the version of the API that the client asked for.
pub(super) async fn forward(engine: &Arc<Engine>, request: Request<Body>, path: &str) -> Reply {
    let path = versioned(&request, path);
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let answer = engine.target().forward(request, &format!("{path}{query}")).await;
    engine.note(&answer);
    let answer = answer?;
    let status = answer.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return Ok(answer);
    }
    // What an engine refuses is told whole: nobody reads the request to its end any more.
    let (mut parts, body) = answer.into_parts();
    let words = Limited::new(body, REFUSAL_BYTES_MAX).collect();
    let words = tokio::time::timeout(REFUSAL_TIMEOUT, words).await;
    let words = match words {
        Ok(Ok(words)) => words.to_bytes(),
        Ok(Err(error)) => return Err(engine.target().nonsense(error).into()),
        Err(_) => return Err(engine.target().nonsense("its refusal does not end").into()),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok((parts, words).into_response())
}

/// A path of the API in the version that the client asked for.
pub(super) fn versioned(request: &Request<Body>, path: &str) -> String {
    let original = request.uri().path();
    let version = &original[..original.len() - without_version(original).len()];
    format!("{version}{path}")
}

/// A name as a part of a path; slashes stay.
pub(super) fn path_encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/:@+".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_end_a_path() {
        assert_eq!(path_encoded("localhost:5000/a/b@sha256:0+1"), "localhost:5000/a/b@sha256:0+1");
        assert_eq!(path_encoded("a b?c#d%"), "a%20b%3Fc%23d%25");
    }
}

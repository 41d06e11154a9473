//! Requests that are passed on to an engine as they came, and its answers back.

use std::sync::Arc;

use axum::body::Body;
use http::Request;

use super::reply::Reply;
use super::route::without_version;
use crate::engine::Engine;

/// Passes a request on under the version of the API that the client asked for.
pub(super) async fn forward(engine: &Arc<Engine>, request: Request<Body>, path: &str) -> Reply {
    let path = versioned(&request, path);
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let answer = engine.target().forward(request, &format!("{path}{query}")).await;
    engine.note(&answer);
    Ok(answer?)
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

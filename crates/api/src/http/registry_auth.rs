//! The `X-Registry-Auth` header: URL-safe base64 of a JSON object.
//!
//! It is passed on as it is: to the engine, which reads it, or into a service, whose nodes read it.

use http::HeaderMap;

/// The header as sent, empty if it is absent.
pub(crate) fn encoded(headers: &HeaderMap) -> String {
    headers.get("x-registry-auth").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

//! The `X-Registry-Auth` header: URL-safe base64 of a JSON object, padded or not.
//!
//! As in moby, a header that cannot be read counts as none: anonymous access may still do.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bollard_stubs::models::AuthConfig;
use http::HeaderMap;

/// The header as sent, empty if it is absent.
pub(crate) fn encoded(headers: &HeaderMap) -> String {
    headers.get("x-registry-auth").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// The credentials that the header carries.
pub(crate) fn decode(encoded: &str) -> Option<AuthConfig> {
    if encoded.is_empty() {
        return None;
    }
    let engines = [&URL_SAFE, &URL_SAFE_NO_PAD, &STANDARD, &STANDARD_NO_PAD];
    let json = engines.iter().find_map(|engine| engine.decode(encoded).ok())?;
    serde_json::from_slice(&json).ok()
}

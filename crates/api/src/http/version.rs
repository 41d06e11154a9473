//! The API version that a client asks for: the optional `/v1.xx` prefix, and the headers that every answer carries.
//!
//! Mirrors moby's version middleware. The prefix is cut off before routing, so that each route is written once.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use std::convert::Infallible;

use crate::error::ApiError;
use crate::state::ApiState;

/// A version of the Engine API; always `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u16, pub u16);

/// The newest version that is spoken.
pub const MAX_VERSION: ApiVersion = ApiVersion(1, 51);
/// The oldest version that is spoken.
pub const MIN_VERSION: ApiVersion = ApiVersion(1, 24);

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl<S: Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(MAX_VERSION))
    }
}

/// Cuts the version prefix off, refuses versions out of range, and adds the headers of every answer.
pub(crate) async fn negotiate(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match take_prefix(request.uri()) {
        Ok((version, uri)) => {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(version);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    add_headers(response.headers_mut(), &state.daemon.server_version);
    response
}

fn add_headers(headers: &mut HeaderMap, server_version: &str) {
    let server = format!("Docker/{server_version} (linux)");
    if let Ok(value) = HeaderValue::from_str(&server) {
        headers.insert("Server", value);
    }
    if let Ok(value) = HeaderValue::from_str(&MAX_VERSION.to_string()) {
        headers.insert("Api-Version", value);
    }
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
}

fn take_prefix(uri: &Uri) -> Result<(ApiVersion, Uri), ApiError> {
    let path = uri.path();
    let Some((text, rest)) = split_prefix(path) else {
        return Ok((MAX_VERSION, uri.clone()));
    };
    let version = ApiVersion::parse(text).ok_or_else(|| ApiError::not_found("page not found"))?;
    if version < MIN_VERSION {
        return Err(ApiError::invalid(format!(
            "client version {text} is too old. Minimum supported API version is {MIN_VERSION}, \
             please upgrade your client to a newer version"
        )));
    }
    if version > MAX_VERSION {
        return Err(ApiError::invalid(format!(
            "client version {text} is too new. Maximum supported API version is {MAX_VERSION}"
        )));
    }
    let with_query = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let path_and_query =
        PathAndQuery::try_from(with_query).map_err(|_| ApiError::not_found("page not found"))?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    let uri = Uri::from_parts(parts).map_err(|_| ApiError::not_found("page not found"))?;
    Ok((version, uri))
}

/// Splits `/v1.24/info` into `1.24` and `/info`; anything else has no version prefix.
fn split_prefix(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/v")?;
    let end = rest.find('/')?;
    let (text, rest) = rest.split_at(end);
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    digits.then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let check = |input: &str, expected: Result<(ApiVersion, &str), &str>| {
            let got = take_prefix(&input.parse().expect("uri"));
            let got = got.map(|(v, uri)| (v, uri.to_string())).map_err(|e| e.message);
            let expected = expected.map(|(v, u)| (v, u.to_owned())).map_err(str::to_owned);
            assert_eq!(got, expected, "{input}");
        };
        check("/info", Ok((MAX_VERSION, "/info")));
        check("/v1.24/info?a=b", Ok((ApiVersion(1, 24), "/info?a=b")));
        check("/v1.51/services/x", Ok((ApiVersion(1, 51), "/services/x")));
        check("/volumes", Ok((MAX_VERSION, "/volumes")));
        check("/volumes/v1.2", Ok((MAX_VERSION, "/volumes/v1.2")));
        check("/v1/info", Err("page not found"));
        check(
            "/v1.10/info",
            Err("client version 1.10 is too old. Minimum supported API version is 1.24, \
                 please upgrade your client to a newer version"),
        );
        check(
            "/v1.99/info",
            Err("client version 1.99 is too new. Maximum supported API version is 1.51"),
        );
    }
}

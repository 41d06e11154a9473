//! JSON bodies: their content type, their size and their shape, judged in Docker's words.
//!
//! Go's decoder takes `null` for any field as if the field were absent; so does this one.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ApiError, Class};

/// No JSON body may be larger: the largest legitimate one is a secret or config of 1 MB, and a bound must exist.
pub(crate) const JSON_BYTES_MAX: usize = 64 << 20;

/// A JSON body; an empty one is the type's default.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let empty = request.headers().get(CONTENT_LENGTH).is_some_and(|v| v == "0");
        check_content_type(&request, empty)?;
        let bytes = read_all(request.into_body(), JSON_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&bytes).map(Self)
    }
}

fn check_content_type(request: &Request, empty: bool) -> Result<(), ApiError> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else {
        let has_body = !empty && !http_body::Body::is_end_stream(request.body());
        return match has_body {
            true => Err(ApiError::invalid("malformed Content-Type header (): mime: no media type")),
            false => Ok(()),
        };
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let media = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media == "application/json" || (empty && media == "text/plain") {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "unsupported Content-Type header ({text}): must be 'application/json'"
    )))
}

/// Reads a body up to a limit.
pub(crate) async fn read_all(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::new(
            Class::TooLarge,
            format!("request body is larger than the limit of {} MiB", bytes_max >> 20),
        )),
        Err(error) => Err(ApiError::invalid(format!("reading the request body: {error}"))),
    }
}

/// Reads one JSON value and nothing after it.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let invalid = |error: serde_json::Error| ApiError::invalid(format!("invalid JSON: {error}"));
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut value = match values.next() {
        Some(value) => value.map_err(invalid)?,
        None => return Err(ApiError::invalid("invalid JSON: got EOF while reading request body")),
    };
    let rest = &bytes[values.byte_offset()..];
    if rest.iter().any(|byte| !byte.is_ascii_whitespace()) {
        return Err(ApiError::invalid("unexpected content after JSON"));
    }
    if value.is_array() {
        // Serde would read a struct from a sequence, field by field; Docker's decoder refuses it.
        return Err(ApiError::invalid("invalid JSON: invalid type: array, expected an object"));
    }
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(invalid)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Small {
        name: String,
    }

    #[test]
    fn shapes() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let got = parse::<Small>(text.as_bytes());
            match (got, expected) {
                (Ok(small), Ok(name)) => assert_eq!(small.name, name, "{text}"),
                (Err(error), Err(part)) => {
                    assert!(error.message.contains(part), "{text}: {}", error.message)
                }
                (got, _) => panic!("{text}: {got:?}"),
            }
        };
        check(r#"{"name":"x"}"#, Ok("x"));
        check(r#"{"name":null}"#, Ok(""));
        check(r#"{"name":"x","other":1} "#, Ok("x"));
        check("  ", Err("got EOF while reading request body"));
        check("{", Err("invalid JSON: "));
        check("{} {}", Err("unexpected content after JSON"));
        check(r#"{"name":5}"#, Err("invalid JSON: invalid type"));
        check("[]", Err("invalid JSON: "));
        check(&"[".repeat(100_000), Err("invalid JSON: recursion limit"));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let error = read_all(Body::from(vec![b' '; 11]), 10).await.expect_err("too large");
        assert_eq!(error.class, Class::TooLarge);
    }
}

//! Registry failures in dockerd's words and classes.
//!
//! Mirrors moby's distribution/errors.go, and Go's wording of failed connections, which people search for.

use std::error::Error as StdError;
use std::io;

use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};

use super::endpoint::Endpoint;
use crate::error::{Error, ErrorClass};
use crate::image::Reference;

/// How an endpoint failed, which decides whether the next one is asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// No HTTP answer came: wrong protocol, nobody there.
    pub(super) unreachable: bool,
    /// Nothing came in time, so asking the same host in another way is a waste of it.
    pub(super) timed_out: bool,
}

/// What the credentials amounted to, as far as it matters for the wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// A token service decided.
    Token,
    /// Name and password go with each request.
    Basic,
    /// Nothing was sent.
    None,
}

impl Failure {
    /// Words the client library's error.
    pub(super) fn new(
        cause: OciDistributionError,
        reference: &Reference,
        endpoint: &Endpoint,
        login: Login,
    ) -> Self {
        if let OciDistributionError::RequestError(request) = &cause {
            let status = request.status().is_some();
            let timed_out = request.is_timeout();
            let unreachable =
                !status && (request.is_connect() || timed_out || request.is_request());
            let message = format!(
                "Get \"{}://{}/v2/\": {}",
                endpoint.scheme(),
                endpoint.host,
                transport(request, &endpoint.host)
            );
            return Self {
                error: Error::system(message).with_source(cause),
                unreachable,
                timed_out,
            };
        }
        Self {
            error: word(&cause, reference, endpoint, login).with_source(cause),
            unreachable: false,
            timed_out: false,
        }
    }

    /// A failure of what came back.
    pub(super) fn answer(error: Error) -> Self {
        Self { error, unreachable: false, timed_out: false }
    }
}

fn word(
    cause: &OciDistributionError,
    reference: &Reference,
    endpoint: &Endpoint,
    login: Login,
) -> Error {
    match cause {
        OciDistributionError::RegistryError { envelope, .. } => registry(envelope, reference),
        OciDistributionError::UnauthorizedError { .. } if login == Login::Token => {
            denied(reference, "denied: requested access to the resource is denied")
        }
        // Not 401, at which the CLI would ask for a login and wait.
        OciDistributionError::UnauthorizedError { url } if login == Login::None => {
            Error::new(ErrorClass::System, format!("Get \"{url}\": no basic auth credentials"))
        }
        OciDistributionError::UnauthorizedError { .. } => {
            Error::new(ErrorClass::Unauthorized, "unauthorized: authentication required")
        }
        OciDistributionError::AuthenticationFailure(reason) => {
            let url = format!("{}://{}/v2/", endpoint.scheme(), endpoint.host);
            Error::new(
                ErrorClass::Unauthorized,
                format!("Get \"{url}\": unauthorized: {}", details(reason)),
            )
        }
        OciDistributionError::ServerError { code: 404, .. } => {
            let name = reference.familiar();
            Error::not_found(format!(
                "manifest for {name} not found: manifest unknown: manifest unknown"
            ))
        }
        OciDistributionError::ServerError { code, .. } => {
            Error::system(format!("received unexpected HTTP status: {code}"))
        }
        OciDistributionError::DigestError(error) => Error::system(format!(
            "manifest verification failed for {}: {error}",
            reference.familiar()
        )),
        other => Error::system(other.to_string()),
    }
}

fn registry(envelope: &OciEnvelope, reference: &Reference) -> Error {
    let Some(first) = envelope.errors.first() else {
        return Error::system("the registry refused without a reason");
    };
    let code = match serde_json::to_value(&first.code) {
        Ok(serde_json::Value::String(code)) => code.to_lowercase().replace('_', " "),
        _ => "unknown".to_owned(),
    };
    let cause = format!("{code}: {}", first.message);
    match first.code {
        OciErrorCode::Denied => denied(reference, &cause),
        OciErrorCode::ManifestUnknown | OciErrorCode::NotFound => {
            Error::not_found(format!("manifest for {} not found: {cause}", reference.familiar()))
        }
        OciErrorCode::NameUnknown => {
            Error::not_found(format!("repository {} not found: {cause}", reference.familiar_name()))
        }
        OciErrorCode::Unauthorized => Error::new(ErrorClass::Unauthorized, cause),
        _ => Error::system(cause),
    }
}

fn denied(reference: &Reference, cause: &str) -> Error {
    let name = reference.familiar_name();
    let message = format!(
        "pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
    );
    Error::not_found(message)
}

/// A token service's answer, which is JSON with `details` or a registry's envelope, or just text.
fn details(reason: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(reason).unwrap_or_default();
    let found = json
        .get("details")
        .or_else(|| json.pointer("/errors/0/message"))
        .and_then(|text| text.as_str());
    let fallback = if reason.trim().is_empty() { "authentication required" } else { reason.trim() };
    found.unwrap_or(fallback).to_owned()
}

/// The innermost cause in Go's words, as far as it has one for it.
fn transport(error: &(dyn StdError + 'static), host: &str) -> String {
    let mut innermost = error;
    let mut chain = Vec::new();
    while let Some(next) = innermost.source() {
        innermost = next;
        chain.push(next.to_string());
    }
    let kind = innermost.downcast_ref::<io::Error>().map(io::Error::kind);
    let text = innermost.to_string();
    if kind == Some(io::ErrorKind::ConnectionRefused) {
        return format!("dial tcp {host}: connect: connection refused");
    }
    if chain.iter().any(|cause| cause.contains("failed to lookup address")) {
        let name = host.split(':').next().unwrap_or(host);
        return format!("dial tcp: lookup {name}: no such host");
    }
    if kind == Some(io::ErrorKind::TimedOut)
        || text.contains("timed out")
        || text.contains("deadline has elapsed")
    {
        return format!("dial tcp {host}: i/o timeout");
    }
    if text.contains("InvalidContentType") {
        return "http: server gave HTTP response to HTTPS client".to_owned();
    }
    if text.contains("invalid peer certificate") {
        return format!("tls: failed to verify certificate: x509: {}", certificate(&text));
    }
    match text.split_once(" (os error") {
        Some((text, _)) => format!("dial tcp {host}: connect: {}", text.to_lowercase()),
        None => text,
    }
}

/// The TLS library's word for a bad certificate, in Go's.
fn certificate(text: &str) -> &str {
    let reason = text.rsplit("invalid peer certificate: ").next().unwrap_or(text);
    match reason {
        "UnknownIssuer" => "certificate signed by unknown authority",
        "Expired" => "certificate has expired or is not yet valid",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Text(&'static str);

    #[derive(Debug, thiserror::Error)]
    #[error("error sending request")]
    struct Outer(#[source] Box<dyn StdError + Send + Sync>);

    #[test]
    fn failed_connections_read_as_gos() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = io::Error::from_raw_os_error(libc::ENETUNREACH);
        let text = |text| Box::new(Text(text)) as Box<dyn StdError + Send + Sync>;
        for (cause, expect) in [
            (refused.into(), "dial tcp r.example:5000: connect: connection refused"),
            (unreachable.into(), "dial tcp r.example:5000: connect: network is unreachable"),
            (text("operation timed out"), "dial tcp r.example:5000: i/o timeout"),
            (
                text("failed to lookup address information: Name or service not known"),
                "dial tcp: lookup r.example: no such host",
            ),
            (
                text("received corrupt message of type InvalidContentType"),
                "http: server gave HTTP response to HTTPS client",
            ),
            (
                text("invalid peer certificate: UnknownIssuer"),
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            ),
        ] {
            assert_eq!(transport(&Outer(cause), "r.example:5000"), expect);
        }
    }

    #[test]
    fn token_services_reasons_are_read() {
        for (answer, expect) in [
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, "no"),
            ("plain", "plain"),
            (" ", "authentication required"),
        ] {
            assert_eq!(details(answer), expect);
        }
    }
}

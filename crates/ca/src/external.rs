//! An external authority that signs the nodes' certificates: CFSSL's `sign` request over mutual TLS.
//!
//! Mirrors SwarmKit's `ca/external.go`: addresses are tried in order, and the first that answers well counts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::debug;

use crate::identity::CA_NAME;
use crate::{CaError, Identity, Role, RootCa, TlsMaterials, pem, tls};

/// SwarmKit's `ExternalRequestTimeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// SwarmKit's `CertificateMaxSize`: far more than any chain needs.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// The profile for a certificate that signs others.
const CROSS_SIGN_PROFILE: &str = "CA";
const HTTPS_PORT: u16 = 443;

/// One external authority, by all of its addresses.
pub struct ExternalCa {
    urls: Vec<String>,
    root: RootCa,
    materials: TlsMaterials,
}

impl ExternalCa {
    /// The authority at these addresses, whose own certificates `root` vouches for; this node shows its own to it.
    pub fn new(urls: Vec<String>, root: RootCa, materials: TlsMaterials) -> Self {
        Self { urls, root, materials }
    }

    /// Whether there is no address at all.
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }

    /// Whether somebody answers at one of the addresses whom the root vouches for.
    pub async fn is_reachable(&self) -> bool {
        for url in &self.urls {
            let dialled = tokio::time::timeout(REQUEST_TIMEOUT, self.dial(url)).await;
            match dialled {
                Ok(Ok(_)) => return true,
                Ok(Err(why)) => debug!(url, why, "external CA is unreachable or invalid"),
                Err(_) => debug!(url, "external CA does not answer"),
            }
        }
        false
    }

    /// Has the key of a request certified as this identity's; answers the chain in PEM.
    ///
    /// # Errors
    /// [`CaError::ExternalUnreachable`], where it is worth to ask again; [`CaError::ExternalRefused`].
    pub async fn sign(&self, csr_pem: &[u8], identity: &Identity) -> Result<Vec<u8>, CaError> {
        let role = identity.role.as_str();
        let authority = (identity.role == Role::Manager).then_some(CA_NAME);
        let hosts: Vec<&str> = [role, &identity.node_id].into_iter().chain(authority).collect();
        let request = json!({
            "hosts": hosts,
            "certificate_request": String::from_utf8_lossy(csr_pem),
            "subject": {
                "CN": identity.node_id,
                "names": [{ "O": identity.organization, "OU": role }],
            },
            "profile": "",
            "crl_override": "",
            "label": "",
        });
        self.ask(&request).await
    }

    /// Has a new root's certificate issued once more by this authority.
    ///
    /// # Errors
    /// As [`ExternalCa::sign`], and where what comes back is not the new root's.
    pub async fn cross_sign(&self, root: &RootCa) -> Result<Vec<u8>, CaError> {
        let request = json!({
            "hosts": [],
            "certificate_request": String::from_utf8_lossy(&root.signing_request()?),
            "subject": { "CN": CA_NAME, "names": [] },
            "profile": CROSS_SIGN_PROFILE,
            "crl_override": "",
            "label": "",
            // Basic constraints: CFSSL takes no extensions from the request itself.
            "extensions": [{ "id": "2.5.29.19", "critical": true, "value": "30030101ff" }],
        });
        let answer = self.ask(&request).await?;
        let (signed, own) =
            (pem::certificates(&answer)?, pem::certificates(root.certificates_pem())?);
        let (signed, own) = (pem::parse(&signed[0])?, pem::parse(&own[0])?);
        let is_same = signed.subject().as_raw() == own.subject().as_raw()
            && signed.public_key().raw == own.public_key().raw
            && signed.is_ca();
        match is_same {
            true => Ok(answer.clone()),
            false => Err(CaError::ExternalRefused("it issued another certificate".to_owned())),
        }
    }

    async fn ask(&self, request: &Value) -> Result<Vec<u8>, CaError> {
        let mut failed = CaError::ExternalUnreachable("it has no address".to_owned());
        for url in &self.urls {
            let asked = tokio::time::timeout(REQUEST_TIMEOUT, self.post(url, request)).await;
            failed = match asked {
                Ok(Ok(certificate)) => return Ok(certificate),
                Ok(Err(error)) => error,
                Err(_) => CaError::ExternalUnreachable(format!("{url} does not answer")),
            };
            debug!(url, error = %failed, "no certificate of an external CA");
        }
        Err(failed)
    }

    async fn post(&self, url: &str, request: &Value) -> Result<Vec<u8>, CaError> {
        let unreachable = |e: &dyn std::fmt::Display| CaError::ExternalUnreachable(e.to_string());
        let (stream, target) = self.dial(url).await.map_err(CaError::ExternalUnreachable)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(&e))?;
        let driver = tokio::spawn(connection);
        let message = Request::post(target.path)
            .header(HOST, target.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::from(request.to_string()))
            .map_err(|e| unreachable(&e))?;
        let answer = sender.send_request(message).await.map_err(|e| unreachable(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|e| unreachable(&e))?.to_bytes();
        judge(status, &body)
    }

    async fn dial(&self, url: &str) -> Result<(TlsStream<TcpStream>, Target), String> {
        let target = Target::parse(url)?;
        let node = self.materials.certificate();
        let config = tls::external_client(&self.root, &node).map_err(|e| e.to_string())?;
        let stream = TcpStream::connect((target.host.as_str(), target.port));
        let stream = stream.await.map_err(|e| e.to_string())?;
        let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Ok((stream.map_err(|e| e.to_string())?, target))
    }
}

/// Whether an address is one of an external authority: HTTPS, and a host.
pub fn is_external_url(url: &str) -> bool {
    Target::parse(url).is_ok()
}

struct Target {
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "invalid URL".to_owned())?;
        if uri.scheme_str() != Some("https") {
            return Err("invalid HTTP scheme".to_owned());
        }
        let authority = uri.authority().ok_or("invalid URL")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(HTTPS_PORT);
        Ok(Self { host, port, authority: authority.to_string(), path })
    }
}

/// The certificate in an answer of CFSSL.
fn judge(status: StatusCode, body: &[u8]) -> Result<Vec<u8>, CaError> {
    if status != StatusCode::OK {
        return Err(CaError::ExternalUnreachable(format!("unexpected status code {status}")));
    }
    let answer: Value = serde_json::from_slice(body)
        .map_err(|_| CaError::ExternalUnreachable("unable to parse JSON response".to_owned()))?;
    match answer.pointer("/result/certificate").and_then(Value::as_str) {
        Some(certificate) if answer["success"] == json!(true) => {
            Ok(certificate.as_bytes().to_vec())
        }
        _ if answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()) => {
            Err(CaError::ExternalRefused(format!("response errors: {}", answer["errors"])))
        }
        _ => Err(CaError::ExternalRefused("certificate signing request failed".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https() {
        for (url, expect) in [
            ("https://ca.example.org/api/v1/cfssl/sign", Some(("ca.example.org", 443))),
            ("https://10.0.0.9:12381/sign", Some(("10.0.0.9", 12381))),
            ("https://[::1]:1/", Some(("::1", 1))),
            ("http://10.0.0.9/", None),
            ("10.0.0.9:1", None),
            ("https://", None),
            ("", None),
        ] {
            let target = Target::parse(url).ok();
            assert_eq!(
                target.map(|t| (t.host, t.port)),
                expect.map(|(h, p)| (h.to_owned(), p)),
                "{url}"
            );
            assert_eq!(is_external_url(url), expect.is_some());
        }
    }

    #[test]
    fn answers_are_judged() {
        let good = br#"{"success":true,"result":{"certificate":"PEM"},"errors":[],"messages":[]}"#;
        assert_eq!(judge(StatusCode::OK, good).expect("a certificate"), b"PEM");
        for (status, body, is_final) in [
            (StatusCode::BAD_GATEWAY, &good[..], false),
            (StatusCode::OK, b"rubbish", false),
            (StatusCode::OK, br#"{"success":false,"errors":[{"code":1,"message":"no"}]}"#, true),
            (StatusCode::OK, br#"{"success":true,"result":{}}"#, true),
            (StatusCode::OK, b"[]", true),
        ] {
            let refused = judge(status, body).expect_err("refused");
            assert_eq!(matches!(refused, CaError::ExternalRefused(_)), is_final, "{refused}");
        }
    }
}

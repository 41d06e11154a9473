//! Requests to one Consul agent.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::super::tls::Tls;
use super::super::{ANSWER_BYTES_MAX, CONNECT_TIMEOUT, StoreError};

/// Variables of Consul's own command line, honoured by the original.
const TOKEN_VARIABLE: &str = "CONSUL_HTTP_TOKEN";
const AUTH_VARIABLE: &str = "CONSUL_HTTP_AUTH";

/// An agent.
#[derive(Debug)]
pub(super) struct Client {
    addr: String,
    tls: Option<Tls>,
    /// Who asks.
    headers: HeaderMap,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The state that it tells of; queries wait for a later one.
    pub(super) index: u64,
    body: Bytes,
    store: String,
}

impl Answer {
    /// The answer, where it is no error.
    pub(super) fn accepted(self) -> Result<Self, StoreError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.body);
        let problem =
            format!("Unexpected response code: {} ({})", self.status.as_u16(), said.trim());
        // Errors of the server pass: an agent without a leader answers so.
        Err(
            match self.status.is_server_error()
                && !said.contains("invalid")
                && !said.contains("Invalid")
            {
                true => StoreError::Unavailable { store: self.store, problem },
                false => StoreError::Refused { store: self.store, problem },
            },
        )
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_slice(&self.body).map_err(|error| self.nonsense(&error.to_string()))
    }

    pub(super) fn nonsense(&self, problem: &str) -> StoreError {
        StoreError::Nonsense { store: self.store.clone(), problem: problem.to_owned() }
    }
}

/// Reads and writes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Client {
    pub(super) fn new(addr: &str, tls: Option<Tls>) -> Self {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut headers = HeaderMap::new();
        let token = env(TOKEN_VARIABLE).and_then(|token| HeaderValue::from_str(&token).ok());
        headers
            .extend(token.map(|token| (header::HeaderName::from_static("x-consul-token"), token)));
        let auth = env(AUTH_VARIABLE).and_then(|auth| {
            // As Consul's own: a name alone has an empty password.
            let auth = if auth.contains(':') { auth } else { format!("{auth}:") };
            let coded = base64::engine::general_purpose::STANDARD.encode(auth);
            HeaderValue::from_str(&format!("Basic {coded}")).ok()
        });
        headers.extend(auth.map(|auth| (header::AUTHORIZATION, auth)));
        if let Ok(host) = HeaderValue::from_str(addr) {
            headers.insert(header::HOST, host);
        }
        Self { addr: addr.to_owned(), tls, headers }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
        limit: Duration,
    ) -> Result<Answer, StoreError> {
        let late = || self.unavailable("it does not answer");
        tokio::time::timeout(limit, self.exchange(method, path, body))
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(&self, method: Method, path: &str, body: &str) -> Result<Answer, StoreError> {
        let failed = |error: &dyn std::error::Error| self.unavailable(&causes(error));
        let dialled = tokio::time::timeout(CONNECT_TIMEOUT, self.dial()).await;
        let late = || io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
        let stream = dialled.unwrap_or_else(|_| Err(late())).map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        // With the connection it ends when this is dropped, also where nobody waits for the answer any more.
        let _connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
        *request.headers_mut() = self.headers.clone();
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let index = response.headers().get("X-Consul-Index");
        let index = index.and_then(|index| index.to_str().ok()?.parse().ok()).unwrap_or_default();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| failed(&*error))?.to_bytes();
        Ok(Answer { status, index, body, store: self.name() })
    }

    async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(&self.addr).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => Box::new(tls.wrap(&self.addr, stream).await?),
            None => Box::new(stream),
        })
    }

    fn name(&self) -> String {
        format!("consul at {}", self.addr)
    }

    fn unavailable(&self, problem: &str) -> StoreError {
        StoreError::Unavailable { store: self.name(), problem: problem.to_owned() }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

//! HTTP to one engine: bounded requests for JSON, and requests of clients that are passed on whole, upgrades included.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::leadership::Leadership;

/// An engine that does not take a connection by then is out of reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// No answer of an engine that is read whole may be larger: thousands of containers take some megabytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// An engine did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub(crate) enum EngineError {
    /// Nobody answers.
    #[error(
        "Cannot connect to the Docker daemon at tcp://{addr}. Is the docker daemon running? ({problem})"
    )]
    Unreachable {
        /// `host:port`
        addr: String,
        /// What the system says.
        problem: String,
    },
    /// It does not answer in time.
    #[error("the docker engine at {addr} does not answer")]
    Silent {
        /// `host:port`
        addr: String,
    },
    /// It answered with an error.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// The engine's words.
        message: String,
    },
    /// The manager was the primary when it began, and is no more.
    #[error("No elected primary cluster manager: this one is not the primary any more")]
    NotPrimary,
    /// It answered with something else than it should.
    #[error("the docker engine at {addr} gave an answer that makes no sense: {problem}")]
    Nonsense {
        /// `host:port`
        addr: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl EngineError {
    /// Whether the engine itself may be lost, rather than the request be at fault.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. })
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

/// Where an engine, or another manager, answers.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    addr: String,
    /// Of the manager that asks: while it is not the primary, nothing is changed there.
    leadership: Leadership,
}

impl Target {
    pub(crate) fn new(addr: impl Into<String>) -> Self {
        Self { addr: addr.into(), leadership: Leadership::default() }
    }

    /// Where nothing is changed unless the manager is the primary.
    pub(crate) fn obeying(mut self, leadership: Leadership) -> Self {
        self.leadership = leadership;
        self
    }

    /// `host:port`
    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// Asks for JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, EngineError> {
        self.ask(Method::GET, path, HeaderMap::new(), None, limit).await
    }

    /// Sends a request with a JSON body, or none, and reads the JSON of the answer; an empty one is null.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<T, EngineError> {
        let bytes = match tokio::time::timeout(limit, self.read(method, path, headers, body)).await
        {
            Ok(read) => read?,
            Err(_) => return Err(EngineError::Silent { addr: self.addr.clone() }),
        };
        let bytes = if bytes.trim_ascii().is_empty() { b"null".as_slice() } else { &bytes };
        serde_json::from_slice(bytes).map_err(|error| self.nonsense(error))
    }

    async fn read(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Option<&Value>,
    ) -> Result<Bytes, EngineError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut request = Request::new(Body::new(Full::new(body.unwrap_or_default())));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| self.nonsense(error))?;
        *request.headers_mut() = headers;
        let response = self.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| self.nonsense(error))?.to_bytes();
        if status.is_client_error() || status.is_server_error() {
            return Err(EngineError::Refused { status, message: message(&bytes) });
        }
        Ok(bytes)
    }

    /// Sends a request whose answer is a stream of messages, and reads it to its end.
    ///
    /// # Errors
    /// [`EngineError`]; an error that the stream tells counts as an answer of 500.
    pub(crate) async fn lines(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        limit: Duration,
    ) -> Result<(), EngineError> {
        let read = self.read(method, path, headers, None);
        let bytes = match tokio::time::timeout(limit, read).await {
            Ok(read) => read?,
            Err(_) => return Err(EngineError::Silent { addr: self.addr.clone() }),
        };
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let failed = lines.flatten().find_map(|line| line.get("error").cloned());
        match failed {
            None => Ok(()),
            Some(error) => {
                let message = error.as_str().unwrap_or_default().to_owned();
                let status =
                    match message.contains("not found") || message.contains("does not exist") {
                        true => StatusCode::NOT_FOUND,
                        false => StatusCode::INTERNAL_SERVER_ERROR,
                    };
                Err(EngineError::Refused { status, message })
            }
        }
    }

    /// Sends a request on a connection of its own, and gives the answer as soon as its head is there.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, EngineError> {
        if !request.method().is_safe() && !self.leadership.is_primary() {
            return Err(EngineError::NotPrimary);
        }
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.addr)).await;
        let stream = stream
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")))
            .map_err(|error| self.unreachable(error))?;
        stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection.with_upgrades());
        let host = HeaderValue::from_str(&self.addr).map_err(|error| self.nonsense(error))?;
        request.headers_mut().insert(header::HOST, host);
        sender.send_request(request).await.map_err(|error| self.unreachable(error))
    }

    /// Passes a client's request on, and the answer back; streams go on both ways for as long as both sides want.
    pub(crate) async fn forward(
        &self,
        mut request: Request<Body>,
        path_and_query: &str,
    ) -> Result<Response<Body>, EngineError> {
        *request.uri_mut() = path_and_query.parse::<Uri>().map_err(|error| self.nonsense(error))?;
        let wants_upgrade = request.headers().contains_key(header::UPGRADE);
        let client = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
        if !wants_upgrade {
            request.headers_mut().remove(header::CONNECTION);
        }
        let mut response = self.send(request).await?;
        if let Some(client) = client
            && response.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            let engine = hyper::upgrade::on(&mut response);
            tokio::spawn(join(client, engine));
        }
        let (mut parts, body) = response.into_parts();
        if parts.status != StatusCode::SWITCHING_PROTOCOLS {
            parts.headers.remove(header::CONNECTION);
        }
        parts.headers.remove(header::TRANSFER_ENCODING);
        Ok((parts, Body::new(body)).into_response())
    }

    fn unreachable(&self, error: impl std::error::Error) -> EngineError {
        EngineError::Unreachable { addr: self.addr.clone(), problem: causes(&error) }
    }

    fn nonsense(&self, error: impl ToString) -> EngineError {
        EngineError::Nonsense { addr: self.addr.clone(), problem: error.to_string() }
    }
}

/// Copies both ways until both sides are at their end.
async fn join(client: hyper::upgrade::OnUpgrade, engine: hyper::upgrade::OnUpgrade) {
    let (client, engine) = match tokio::try_join!(client, engine) {
        Ok((client, engine)) => (client, engine),
        Err(error) => return tracing::debug!(%error, "a connection was not taken over"),
    };
    let (mut client, mut engine) = (TokioIo::new(client), TokioIo::new(engine));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut engine).await {
        tracing::debug!(%error, "a connection that was taken over broke");
    }
}

/// The words of an error's body.
fn message(bytes: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(bytes).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(bytes).trim().to_owned(), str::to_owned)
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

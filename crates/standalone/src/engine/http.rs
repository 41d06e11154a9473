//! HTTP to one engine: bounded questions for JSON, and requests of clients that are passed on whole, upgrades included.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;

use super::EngineError;
use super::connect::{Connections, Sender};
use super::error::{causes, message};
use crate::leadership::Leadership;

/// No answer of an engine that is read whole may be larger: ten thousand containers take half of it.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// JSON takes no fewer bytes for a value, over a whole answer; in memory one takes more.
const VALUE_BYTES_MIN: usize = 16;
/// No error may be larger, or take longer to tell.
const ERROR_BYTES_MAX: usize = 64 << 10;
const ERROR_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take, and how large it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) bytes: usize,
}

impl From<Duration> for Bounds {
    fn from(time: Duration) -> Self {
        Self { time, bytes: ANSWER_BYTES_MAX }
    }
}

/// Where an engine, or another manager, answers.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    connections: Arc<Connections>,
    lost: Arc<Notify>,
    /// Of the manager that asks: while it is not the primary, nothing is changed there.
    leadership: Leadership,
}

impl Target {
    /// With TLS where that is given.
    pub(crate) fn new(addr: impl Into<String>, tls: Option<Arc<ClientConfig>>) -> Self {
        let connections = Arc::new(Connections::new(addr.into(), tls));
        Self { connections, lost: Arc::default(), leadership: Leadership::default() }
    }

    /// Where nothing is changed unless the manager is the primary.
    pub(crate) fn obeying(mut self, leadership: Leadership) -> Self {
        self.leadership = leadership;
        self
    }

    /// `host:port`
    pub(crate) fn addr(&self) -> &str {
        self.connections.addr()
    }

    /// Whoever waits for an answer now waits no longer: the engine is lost.
    pub(crate) fn give_up(&self) {
        self.connections.clear();
        self.lost.notify_waiters();
    }

    /// Asks for JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        bounds: impl Into<Bounds>,
    ) -> Result<T, EngineError> {
        self.ask(Method::GET, path, HeaderMap::new(), None, bounds).await
    }

    /// Sends a request with a JSON body, or none, and reads the JSON of the answer; an empty one is null.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&Value>,
        bounds: impl Into<Bounds>,
    ) -> Result<T, EngineError> {
        let bounds = bounds.into();
        let bytes = self.read(method, path, headers, body, bounds).await?;
        self.parse(&bytes, bounds)
    }

    /// Reads an answer as JSON.
    ///
    /// # Errors
    /// [`EngineError::Nonsense`], also where there is far more in it than its size tells.
    pub(crate) fn parse<T: DeserializeOwned>(
        &self,
        bytes: &[u8],
        bounds: Bounds,
    ) -> Result<T, EngineError> {
        let begins = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
        if bytes.iter().filter(begins).count() > bounds.bytes / VALUE_BYTES_MIN {
            return Err(self.nonsense("too many values"));
        }
        let bytes = if bytes.trim_ascii().is_empty() { b"null".as_slice() } else { bytes };
        serde_json::from_slice(bytes).map_err(|error| self.nonsense(error))
    }

    /// Sends a request and reads the answer whole, in the time that there is and while the engine is not lost.
    pub(crate) async fn read(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&Value>,
        bounds: Bounds,
    ) -> Result<Bytes, EngineError> {
        let reading = self.until_lost(self.read_all(method, path, headers, body, bounds.bytes));
        let read = tokio::time::timeout(bounds.time, reading).await;
        read.unwrap_or_else(|_| Err(self.silent()))
    }

    async fn read_all(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Option<&Value>,
        bytes_max: usize,
    ) -> Result<Bytes, EngineError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let uri: Uri = path.parse().map_err(|error| self.nonsense(error))?;
        let request = || {
            let mut request = Request::new(Body::new(Full::new(body.clone().unwrap_or_default())));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            request
        };
        let mut kept = None;
        // A question may be asked twice; of a change nobody would know whether it was done.
        if method == Method::GET
            && let Some(mut sender) = self.connections.kept().await
            && let Ok(response) = self.send_on(&mut sender, request()).await
        {
            kept = Some((sender, response));
        }
        let (sender, response) = match kept {
            Some(kept) => kept,
            None => {
                let mut sender = self.connections.make().await?;
                // Here nobody but the engine can be at fault.
                let response = self.send_on(&mut sender, request()).await.map_err(|error| {
                    let problem = error.to_string();
                    EngineError::Unreachable { addr: self.addr().to_owned(), problem }
                })?;
                (sender, response)
            }
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        let bytes = body.map_err(|error| self.nonsense(error))?.to_bytes();
        self.connections.keep(sender);
        if status.is_client_error() || status.is_server_error() {
            return Err(EngineError::Refused { status, message: message(&bytes) });
        }
        Ok(bytes)
    }

    /// What an answer that is no success says.
    pub(crate) async fn refusal(&self, response: Response<Incoming>) -> EngineError {
        let status = response.status();
        let body = Limited::new(response.into_body(), ERROR_BYTES_MAX).collect();
        match tokio::time::timeout(ERROR_TIMEOUT, body).await {
            Err(_) => self.silent(),
            Ok(Err(error)) => self.nonsense(error),
            Ok(Ok(body)) => EngineError::Refused { status, message: message(&body.to_bytes()) },
        }
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
        let bytes = self.read(method, path, headers, None, limit.into()).await?;
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let failed = lines.map_while(Result::ok).find_map(|line| line.get("error").cloned());
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

    /// Sends a request on a connection of its own, and gives the answer as soon as its head is there; gives up when the
    /// engine is lost before.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, EngineError> {
        self.until_lost(async {
            let mut sender = self.connections.make().await?;
            self.send_on(&mut sender, request).await
        })
        .await
    }

    async fn send_on(
        &self,
        sender: &mut Sender,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, EngineError> {
        if !request.method().is_safe() && !self.leadership.is_primary() {
            return Err(EngineError::NotPrimary);
        }
        let host = HeaderValue::from_str(self.addr()).map_err(|error| self.nonsense(error))?;
        request.headers_mut().insert(header::HOST, host);
        let sent = sender.send_request(request).await;
        sent.map_err(|error| EngineError::Broken {
            addr: self.addr().to_owned(),
            problem: causes(&error),
        })
    }

    async fn until_lost<T>(
        &self,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::select! {
            done = work => done,
            () = self.lost.notified() => Err(self.silent()),
        }
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
        // The client was told to go on by us.
        request.headers_mut().remove(header::EXPECT);
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

    fn silent(&self) -> EngineError {
        EngineError::Silent { addr: self.addr().to_owned() }
    }

    /// The answer makes no sense.
    pub(crate) fn nonsense(&self, problem: impl ToString) -> EngineError {
        EngineError::Nonsense { addr: self.addr().to_owned(), problem: problem.to_string() }
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

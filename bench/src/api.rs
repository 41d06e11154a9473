//! A Docker API client of one keep-alive connection to a unix socket.
//!
//! It is not the docker CLI, whose own start costs more than what is measured.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The newest version that docker.io 20.10 knows.
const VERSION: &str = "/v1.41";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Connects; must be called within a runtime, which then drives the connection.
    pub(crate) async fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.context("connect to the engine")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// One request and its whole answer; an error status is an error.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        timeout(REQUEST_TIMEOUT, self.exchange(method, path, body))
            .await
            .with_context(|| format!("{path} took longer than {REQUEST_TIMEOUT:?}"))?
    }

    async fn exchange(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        self.0.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{VERSION}{path}"))
            .header("Host", "engine")
            .header("Content-Type", "application/json")
            .body(Full::new(body))?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if status.is_client_error() || status.is_server_error() {
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(answer)
    }
}

/// A connection for code that does one thing after another.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    connection: Connection,
}

impl Client {
    /// Connects to an engine's socket.
    pub(crate) fn open(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(Connection::open(socket))?;
        Ok(Self { runtime, connection })
    }

    /// `GET` with a JSON answer.
    pub(crate) fn get(&mut self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None)
    }

    /// `GET`, for whoever waits for the answer and does not look at it.
    pub(crate) fn read(&mut self, path: &str) -> Result<Bytes> {
        self.runtime.block_on(self.connection.send(Method::GET, path, Bytes::new()))
    }

    /// `POST` with a JSON body; the answer may be empty.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body))
    }

    /// `DELETE`.
    pub(crate) fn delete(&mut self, path: &str) -> Result<Value> {
        self.call(Method::DELETE, path, None)
    }

    fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let answer = self.runtime.block_on(self.connection.send(method, path, body.into()))?;
        if answer.trim_ascii().is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

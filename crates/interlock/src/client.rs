//! The cluster's Docker API: bounded questions for JSON, and its stream of events; over TCP, TLS or a socket.

mod address;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

pub(crate) use address::Address;
pub(crate) use tls::{Certificates, TlsError};

/// Who does not take a connection by then is out of reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The cluster answers from memory, or asks one engine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Tens of thousands of containers take so much; more is not read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The cluster did not answer as it should.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("cannot connect to {address}")]
    Connect { address: String, source: io::Error },
    #[error("{address} broke the connection")]
    Broken { address: String, source: hyper::Error },
    #[error("{address} does not answer")]
    Silent { address: String },
    #[error("{address} answers {status} to {path}: {message}")]
    Refused { address: String, path: String, status: u16, message: String },
    #[error("{address} gives an answer to {path} that makes no sense: {problem}")]
    Nonsense { address: String, path: String, problem: String },
}

impl ClientError {
    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// With all its causes.
    pub(crate) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

/// A way to the cluster; cheap to copy.
#[derive(Clone)]
pub(crate) struct Client {
    address: Address,
    tls: Option<TlsConnector>,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Client {
    /// # Errors
    /// [`TlsError`] for certificates that can't be read.
    pub(crate) fn new(
        address: Address,
        certificates: Option<&Certificates>,
    ) -> Result<Self, TlsError> {
        let config = certificates.map(Certificates::config).transpose()?;
        Ok(Self { address, tls: config.map(|config| TlsConnector::from(Arc::new(config))) })
    }

    /// Where ports that are published on all addresses of an engine are, when the engine is all there is.
    pub(crate) fn host(&self) -> &str {
        self.address.host()
    }

    /// Asks for JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let silent = |_| ClientError::Silent { address: self.address.to_string() };
        let read = async {
            let body = self.send(path).await?.into_body();
            let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok(collected.map_err(|error| self.nonsense(path, error.as_ref()))?.to_bytes())
        };
        let bytes: Bytes = tokio::time::timeout(ANSWER_TIMEOUT, read).await.map_err(silent)??;
        serde_json::from_slice(&bytes).map_err(|error| self.nonsense(path, &error))
    }

    /// Asks for a stream, which begins when this is answered.
    pub(crate) async fn stream(&self, path: &str) -> Result<Incoming, ClientError> {
        let silent = |_| ClientError::Silent { address: self.address.to_string() };
        let sent = tokio::time::timeout(ANSWER_TIMEOUT, self.send(path)).await.map_err(silent)?;
        Ok(sent?.into_body())
    }

    /// What a stream that broke is called.
    pub(crate) fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken { address: self.address.to_string(), source }
    }

    async fn send(&self, path: &str) -> Result<Response<Incoming>, ClientError> {
        let connect = |source| ClientError::Connect { address: self.address.to_string(), source };
        let wire = match tokio::time::timeout(CONNECT_TIMEOUT, self.wire()).await {
            Ok(wire) => wire.map_err(connect)?,
            Err(_) => return Err(connect(io::ErrorKind::TimedOut.into())),
        };
        let broken = |error| self.broken(error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(wire)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = path.parse().map_err(|error| self.nonsense(path, &error))?;
        let host = HeaderValue::from_str(self.address.host());
        let host = host.map_err(|error| self.nonsense(path, &error))?;
        request.headers_mut().insert(header::HOST, host);
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(ClientError::Refused {
            address: self.address.to_string(),
            path: path.to_owned(),
            status: status.as_u16(),
            message: message(&bytes),
        })
    }

    async fn wire(&self) -> io::Result<Box<dyn Wire>> {
        let (host, port) = match &self.address {
            Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Tcp { host, port } => (host, *port),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let name = tls::server_name(host).map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }

    fn nonsense(&self, path: &str, problem: &dyn std::error::Error) -> ClientError {
        let problem = problem.to_string();
        ClientError::Nonsense { address: self.address.to_string(), path: path.to_owned(), problem }
    }
}

/// The words of an error's body.
fn message(bytes: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(bytes).trim().to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests;

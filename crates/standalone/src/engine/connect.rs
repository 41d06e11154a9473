//! Connections to one engine: a new one for each stream and each change, and a few that are kept for questions.
//!
//! A change goes out on a new connection only: where that can't be made, nothing was changed for sure.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::EngineError;
use super::error::causes;
use crate::discovery::Entry;

/// An engine that does not take a connection by then is out of reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// And one that has not proved who it is by then.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// So many connections are kept: what the events of a busy engine take.
const IDLE_MAX: usize = 4;
/// A peer that takes nothing, or is silent about taking it, is gone: long enough for one that writes to a slow disk.
const UNTAKEN_TIMEOUT: Duration = Duration::from_secs(60);
/// A silent connection is tried after this, and so often in between, in seconds.
const KEEPALIVE_IDLE_S: u32 = 10;
const KEEPALIVE_INTERVAL_S: u32 = 5;

/// What requests are sent on.
pub(super) type Sender = SendRequest<Body>;

/// Connections to one address.
#[derive(Debug)]
pub(super) struct Connections {
    addr: String,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Vec<Sender>>,
}

impl Connections {
    pub(super) fn new(addr: String, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { addr, tls, idle: Mutex::default() }
    }

    /// `host:port`
    pub(super) fn addr(&self) -> &str {
        &self.addr
    }

    /// One that was kept and still works, as far as can be told.
    pub(super) async fn kept(&self) -> Option<Sender> {
        loop {
            let mut sender = self.lock().pop()?;
            if !sender.is_closed() && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// Keeps one whose last answer was read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        let mut idle = self.lock();
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }

    /// Keeps none of them any longer.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// A new one.
    pub(super) async fn make(&self) -> Result<Sender, EngineError> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.addr)).await;
        let stream = stream.map_err(late).flatten().map_err(|error| self.unreachable(&error))?;
        prepare(&stream).map_err(|error| self.unreachable(&error))?;
        let Some(tls) = &self.tls else { return self.handshake(stream).await };
        let host = Entry::parse(&self.addr).map(|entry| entry.host).unwrap_or_default();
        let name = ServerName::try_from(host).map_err(|error| self.unreachable(&error))?;
        let secured = TlsConnector::from(tls.clone()).connect(name, stream);
        let secured = tokio::time::timeout(TLS_TIMEOUT, secured).await;
        let secured = secured.map_err(late).flatten();
        self.handshake(secured.map_err(|error| self.unreachable(&error))?).await
    }

    async fn handshake(
        &self,
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Sender, EngineError> {
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| self.unreachable(&error))?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    pub(super) fn unreachable(&self, error: &dyn std::error::Error) -> EngineError {
        EngineError::Unreachable { addr: self.addr.clone(), problem: causes(error) }
    }

    // A panic while it is held leaves connections that are tried before they are used.
    fn lock(&self) -> MutexGuard<'_, Vec<Sender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the system notice that the other side is gone.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_S)?;
    let untaken = u32::try_from(UNTAKEN_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    Ok(setsockopt(stream, sockopt::TcpUserTimeout, &untaken)?)
}

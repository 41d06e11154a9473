//! The manager's listeners.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::api::Manager;

/// After this an accept error, such as too many open files, is tried again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A client has so long to show who it is.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a request, or whose request has no end of its head, is closed after so long: as in Docker.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listen {
    /// `host:port`; the host may be empty.
    Tcp(String),
    Unix(PathBuf),
}

impl Listen {
    /// Reads `tcp://host:port`, `unix:///path`, or an address alone.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://").unwrap_or(("tcp", text)) {
            ("tcp", addr) => Ok(Self::Tcp(addr.to_owned())),
            ("unix", path) => Ok(Self::Unix(path.into())),
            (other, _) => Err(format!("unsupported protocol: {other:?}")),
        }
    }

    async fn bind(&self) -> Result<Bound, String> {
        match self {
            Self::Tcp(addr) => {
                let all = addr.strip_prefix(':').map(|port| format!("[::]:{port}"));
                let bound = match &all {
                    // Without IPv6 in the kernel, the older one alone.
                    Some(all) => match TcpListener::bind(all).await {
                        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                            TcpListener::bind(format!("0.0.0.0{addr}")).await
                        }
                        bound => bound,
                    },
                    None => TcpListener::bind(addr).await,
                };
                let listener = bound.map_err(|error| in_use(addr, &error))?;
                tracing::info!(addr, proto = "tcp", "Listening for HTTP");
                Ok(Bound::Tcp(listener))
            }
            Self::Unix(path) => {
                let failed = |error: io::Error| format!("listen unix {}: {error}", path.display());
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
                let listener = UnixListener::bind(path).map_err(failed)?;
                let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(path, owner_only).map_err(failed)?;
                tracing::info!(addr = %path.display(), proto = "unix", "Listening for HTTP");
                Ok(Bound::Unix(listener))
            }
        }
    }
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

fn in_use(addr: &str, error: &io::Error) -> String {
    let said = format!("listen tcp {addr}: {error}");
    match error.kind() {
        io::ErrorKind::AddrInUse if addr.contains(":2375") => {
            format!("{said}: is Docker already running on this machine? Try using a different port")
        }
        _ => said,
    }
}

/// Serves until the process is told to end; says when all listeners are there.
pub(super) async fn serve(
    hosts: Vec<Listen>,
    manager: Arc<Manager>,
    on_listening: impl FnOnce(),
) -> Result<(), String> {
    let mut listeners = JoinSet::new();
    for host in hosts {
        let bound = host.bind().await?;
        listeners.spawn(accept(bound, manager.clone()));
    }
    on_listening();
    let failed = |error: io::Error| error.to_string();
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        _ = listeners.join_next() => {}
    }
    Ok(())
}

async fn accept(bound: Bound, manager: Arc<Manager>) {
    loop {
        let accepted = match &bound {
            Bound::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                // Only a speed-up.
                let _ = stream.set_nodelay(true);
                tokio::spawn(greet(stream, manager.clone()));
            }),
            Bound::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(greet(stream, manager.clone()));
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "accepting a connection failed");
            tokio::time::sleep(ACCEPT_RETRY).await;
        }
    }
}

/// Has a client show who it is, where that is asked for, and serves it.
async fn greet(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    manager: Arc<Manager>,
) {
    let Some(tls) = manager.tls.clone() else { return talk(stream, manager).await };
    let greeted = tokio_rustls::TlsAcceptor::from(tls).accept(stream);
    match tokio::time::timeout(GREETING_TIMEOUT, greeted).await {
        Ok(Ok(stream)) => talk(stream, manager).await,
        Ok(Err(error)) => tracing::info!("http: TLS handshake error: {error}"),
        Err(_) => tracing::info!("http: TLS handshake error: it took too long"),
    }
}

/// Serves one connection.
async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, manager: Arc<Manager>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let manager = manager.clone();
        async move { Ok::<_, Infallible>(manager.serve(request.map(Body::new)).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

//! Serves HTTP until the process is told to end.
//!
//! Everybody may come, so everything is bounded: connections, the time for a request's head and body, and a body's
//! size. A container's first process has to handle SIGTERM itself, or `docker stop` waits in vain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

/// More than one machine's voters at once; the next one waits to be accepted.
const CONNECTIONS_MAX: usize = 10_000;
/// For a request's head, and between two requests of a connection. Longer than balancers keep a connection idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// From a request's head to its answer's head.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A vote has ten bytes.
const BODY_BYTES_MAX: usize = 1024;
/// After an accept failed (too many open files), accepting pauses so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Answers under way have so long to finish when the process ends; pages that follow results never finish.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pages bring all they need along, and nothing else is to be loaded or run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
pub async fn serve(address: SocketAddr, routes: Router) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving HTTP");
    let routes =
        routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(axum::middleware::from_fn(frame));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = watch::channel(false);
    tokio::select! {
        () = accept(&listener, &routes, &permits, &stopped) => {}
        ended = ended() => ended?,
    }
    drop(listener);
    let _ = stop.send(true);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, permits.acquire_many(all)).await;
    Ok(())
}

/// Resolves when the process is told to end.
pub async fn ended() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    routes: &Router,
    permits: &Arc<Semaphore>,
    stopped: &watch::Receiver<bool>,
) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, routes.clone(), stopped.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, routes: Router, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// What holds for every answer.
async fn frame(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

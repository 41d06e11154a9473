//! Serves the router on its listeners until it is told to stop.
//!
//! HTTP/1.1 only, with upgrades: that is what every Docker client speaks.

use std::future::Future;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::listener::{Accepted, Listener};
use crate::router;
use crate::state::ApiState;

/// A client has this long to send a request's head, or to shake hands; a silent one must not hold a task for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// After an accept failed (too many open files), accepting pauses this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Answers under way have this long to finish at shutdown; followed logs and events never finish by themselves.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The HTTP server of one daemon.
#[derive(Debug, Clone, Copy)]
pub struct Server;

impl Server {
    /// Serves every listener until `shutdown` resolves; then waits a moment for the answers under way.
    pub async fn serve(
        listeners: Vec<Listener>,
        state: ApiState,
        shutdown: impl Future<Output = ()>,
    ) {
        let router = router::build(state);
        let (stop, stopped) = watch::channel(false);
        let mut acceptors = JoinSet::new();
        for listener in listeners {
            acceptors.spawn(accept_loop(listener, router.clone(), stopped.clone()));
        }
        drop(stopped);
        shutdown.await;
        let _ = stop.send(true);
        let drained = async { while acceptors.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::debug!("connections were cut at shutdown");
        }
    }
}

async fn accept_loop(listener: Listener, router: axum::Router, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => {
                    connections.spawn(serve_connection(accepted, router.clone(), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting an API connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(
    accepted: Accepted,
    router: axum::Router,
    mut stopped: watch::Receiver<bool>,
) {
    let stream = match tokio::time::timeout(HEAD_TIMEOUT, accepted.establish()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::info!(%error, "TLS handshake with an API client failed"),
        Err(_) => return,
    };
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an API connection ended early");
    }
}

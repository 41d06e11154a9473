//! The server side of gRPC between nodes: accepts, shakes hands, and hands requests on together with who sent them.
//!
//! Which methods a peer may call is not decided here: joining nodes have no certificate and must get through.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tracing::debug;

use crate::grace::is_expired;
use crate::strangers::{Door, Strangers};
use crate::{Identity, PeerIdentity, TlsMaterials};

/// Peers that connect and don't speak are let go after this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// So many handshakes at once; one more ends the oldest. Bounds what strangers can make us hold.
const HANDSHAKES_MAX: usize = 256;
/// So many connections of peers without a certificate; nodes that join need one each, for seconds.
const STRANGERS_MAX: usize = 1024;
/// Dead peers are noticed by pings, which every gRPC client answers.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// After this an accept error, such as too many open files, is tried again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The server ended otherwise than by its shutdown.
#[derive(Debug, Error)]
#[error("gRPC server failed")]
pub struct ServeError(#[source] tonic::transport::Error);

/// Serves the routes over mutual TLS until `shutdown` resolves; then waits for requests under way.
///
/// Every request has a [`PeerIdentity`] among its extensions. New connections use the newest materials.
pub async fn serve(
    listener: TcpListener,
    materials: TlsMaterials,
    routes: Routes,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (sender, receiver) = mpsc::channel(HANDSHAKES_MAX);
    // In one future with the server: whoever drops it has the port free at once.
    let (stop, stopped) = oneshot::channel::<()>();
    let accepting = async move {
        tokio::select! {
            () = accept(listener, materials, sender) => {}
            () = shutdown => {}
        }
        drop(stop);
    };
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(Incoming(receiver), async {
            let _ = stopped.await;
        });
    let ((), result) = tokio::join!(accepting, serving);
    result.map_err(ServeError)
}

async fn accept(listener: TcpListener, materials: TlsMaterials, sender: mpsc::Sender<Connection>) {
    let mut handshakes: VecDeque<JoinHandle<()>> = VecDeque::new();
    let strangers = Arc::new(Strangers::new(STRANGERS_MAX));
    loop {
        let (stream, remote_addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        handshakes.retain(|handshake| !handshake.is_finished());
        // Those that mean it are done in milliseconds: who is the first of so many keeps others out.
        if handshakes.len() >= HANDSHAKES_MAX
            && let Some(oldest) = handshakes.pop_front()
        {
            oldest.abort();
        }
        let (acceptor, sender) = (TlsAcceptor::from(materials.server_config()), sender.clone());
        let strangers = strangers.clone();
        handshakes.push_back(tokio::spawn(async move {
            match handshake(acceptor, stream, remote_addr, &strangers).await {
                // The receiver is gone only when the server is shutting down.
                Ok(connection) => drop(sender.send(connection).await),
                Err(error) => debug!(%error, peer.addr = %remote_addr, "TLS handshake failed"),
            }
        }));
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    remote_addr: SocketAddr,
    strangers: &Strangers,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = certificate.and_then(|certificate| Identity::from_certificate(certificate).ok());
    // One that has expired says who asks for a new one, and is good for nothing else.
    let (identity, expired) = match certificate.is_some_and(is_expired) {
        true => (None, identity),
        false => (identity, None),
    };
    let peer = PeerIdentity { identity, expired, remote_addr: Some(remote_addr) };
    let is_stranger = peer.identity.is_none() && peer.expired.is_none();
    let door = is_stranger.then(|| strangers.admit());
    Ok(Connection { stream, peer, door })
}

/// A connection after its handshake.
struct Connection {
    stream: TlsStream<TcpStream>,
    peer: PeerIdentity,
    /// A stranger's.
    door: Option<Arc<Door>>,
}

impl Connected for Connection {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.door.as_ref().is_some_and(|door| door.is_shut(cx)) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        pin!(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        pin!(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(cx)
    }
}

struct Incoming(mpsc::Receiver<Connection>);

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|next| next.map(Ok))
    }
}

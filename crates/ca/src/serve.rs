//! The server side of gRPC between nodes: accepts, shakes hands, and hands requests on together with who sent them.
//!
//! Which methods a peer may call is not decided here: joining nodes have no certificate and must get through.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tracing::debug;

use crate::grace::is_expired;
use crate::strangers::{Door, Strangers};
use crate::tls::EXPRESS;
use crate::{Identity, PeerIdentity, Role, TlsMaterials};

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
/// Every request has a [`PeerIdentity`] among its extensions. New connections use the newest materials. Those that a
/// manager made by [`connect_express`](crate::connect_express) are served on the `express` runtime, where there is one.
pub async fn serve(
    listener: TcpListener,
    materials: TlsMaterials,
    routes: Routes,
    express: Option<Handle>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (usual, usual_connections) = mpsc::channel(HANDSHAKES_MAX);
    let (stop, stopped) = watch::channel(());
    let express = express.map(|runtime| {
        let (queue, connections) = mpsc::channel(HANDSHAKES_MAX);
        let serving = serve_all(routes.clone(), connections, stopped.clone());
        let task = AbortOnDropHandle::new(runtime.spawn(serving));
        (Express { runtime, queue }, task)
    });
    let (express, express_task) = express.unzip();
    let entrance = Entrance { usual, express };
    // In one future with the server: whoever drops it has the port free at once.
    let accepting = async move {
        tokio::select! {
            () = accept(listener, materials, entrance) => {}
            () = shutdown => {}
        }
        drop(stop);
    };
    let ((), result) = tokio::join!(accepting, serve_all(routes, usual_connections, stopped));
    if let Some(Ok(result)) = futures::future::OptionFuture::from(express_task).await {
        result?;
    }
    result
}

/// Serves these connections until the sender of `stopped` is dropped.
async fn serve_all(
    routes: Routes,
    connections: mpsc::Receiver<Connection>,
    mut stopped: watch::Receiver<()>,
) -> Result<(), ServeError> {
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(Incoming(connections), async move {
            while stopped.changed().await.is_ok() {}
        });
    serving.await.map_err(ServeError)
}

/// Where connections are served after their handshake.
#[derive(Clone)]
struct Entrance {
    usual: mpsc::Sender<Connection>,
    express: Option<Express>,
}

#[derive(Clone)]
struct Express {
    runtime: Handle,
    queue: mpsc::Sender<Connection>,
}

impl Entrance {
    async fn admit(&self, mut connection: Connection) {
        let express = self.express.as_ref().filter(|_| connection.is_express());
        let queue = match express {
            Some(express) => match connection.move_to(&express.runtime) {
                Ok(()) => &express.queue,
                Err(error) => return debug!(%error, "a connection could not be moved"),
            },
            None => &self.usual,
        };
        // The receiver is gone only when the server is shutting down.
        let _ = queue.send(connection).await;
    }
}

async fn accept(listener: TcpListener, materials: TlsMaterials, entrance: Entrance) {
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
        let acceptor = TlsAcceptor::from(materials.server_config());
        let (entrance, strangers) = (entrance.clone(), strangers.clone());
        handshakes.push_back(tokio::spawn(async move {
            match handshake(acceptor, stream, remote_addr, &strangers).await {
                Ok(connection) => entrance.admit(connection).await,
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

impl Connection {
    /// Whether a manager asked for express service. Nobody else gets it: it goes before all that others wait for.
    fn is_express(&self) -> bool {
        let is_manager =
            self.peer.identity.as_ref().is_some_and(|identity| identity.role == Role::Manager);
        is_manager && self.stream.get_ref().1.alpn_protocol() == Some(EXPRESS)
    }

    /// From now on the other runtime watches the socket.
    fn move_to(&mut self, runtime: &Handle) -> io::Result<()> {
        let socket = self.stream.get_mut().0;
        let copy = std::net::TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let _within = runtime.enter();
        *socket = TcpStream::from_std(copy)?;
        Ok(())
    }
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

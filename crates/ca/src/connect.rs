//! The client side of gRPC between nodes: a channel that connects when it is first used and again when it broke.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use swarm_proto::Channel;
use swarm_proto::channel::ChannelError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::identity::CA_NAME;
use crate::{CaError, Identity, PeerIdentity, Role, RootCa, TlsMaterials, tls};

/// Time for TCP and TLS together; a manager that doesn't answer by then is taken for gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pings while calls are open, so that a vanished peer is noticed. Stock servers tolerate this beside their answers.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client shows and whom it accepts.
#[derive(Clone)]
pub enum Credentials {
    /// A member of the swarm: shows its certificate, accepts managers of its own organization.
    Member(TlsMaterials),
    /// A node that joins: shows nothing, accepts whoever the root certifies as an authority.
    Joining(RootCa),
    /// Accepts anyone. For fetching the root certificate only; send no secret over it.
    Unverified,
}

impl Credentials {
    fn config(&self) -> Result<(Arc<ClientConfig>, &'static str), CaError> {
        Ok(match self {
            Credentials::Member(materials) => (materials.client_config(), Role::Manager.as_str()),
            Credentials::Joining(root) => (Arc::new(tls::joining_client(root)?), CA_NAME),
            Credentials::Unverified => (Arc::new(tls::unverified_client()?), CA_NAME),
        })
    }

    /// What TLS cannot check for us: that the peer is a manager of our own organization.
    fn check_peer(&self, stream: &TlsStream<TcpStream>) -> io::Result<()> {
        let Credentials::Member(materials) = self else { return Ok(()) };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity =
            certificate.and_then(|certificate| Identity::from_certificate(certificate).ok());
        match identity {
            Some(peer)
                if peer.role == Role::Manager
                    && peer.organization == materials.identity().organization =>
            {
                Ok(())
            }
            _ => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "remote certificate is not that of a manager of this swarm",
            )),
        }
    }
}

/// A channel to the manager at `addr` (`host:port`). It connects when it is first used; a call fails within two
/// seconds where nobody answers, and the next call connects anew.
///
/// # Errors
/// [`CaError::InvalidAddress`].
pub fn connect(addr: &str, credentials: Credentials) -> Result<Channel, CaError> {
    channel(addr, credentials, false)
}

/// As [`connect`], between managers, for what must not wait behind anything else that they do: the other side serves it
/// on its express runtime, if it has one, see [`serve`](crate::serve).
///
/// # Errors
/// As [`connect`].
pub fn connect_express(addr: &str, materials: TlsMaterials) -> Result<Channel, CaError> {
    channel(addr, Credentials::Member(materials), true)
}

fn channel(addr: &str, credentials: Credentials, is_express: bool) -> Result<Channel, CaError> {
    let uri: Uri =
        format!("http://{addr}").parse().map_err(|_| CaError::InvalidAddress(addr.to_owned()))?;
    if uri.port().is_none() || uri.path() != "/" {
        return Err(CaError::InvalidAddress(addr.to_owned()));
    }
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    let target = addr.to_owned();
    let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (target, credentials) = (target.clone(), credentials.clone());
        async move {
            let dialled =
                tokio::time::timeout(CONNECT_TIMEOUT, dial(&target, &credentials, is_express))
                    .await;
            dialled.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("{target} does not answer")))
            })
        }
    }));
    Ok(BoxCloneSyncService::new(channel.map_err(ChannelError::new)))
}

async fn dial(
    target: &str,
    credentials: &Credentials,
    is_express: bool,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let (mut config, name) = credentials.config().map_err(io::Error::other)?;
    if is_express {
        config = Arc::new(tls::express(&config));
    }
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    // Which of several managers it was, and how its name was spelled, is not in the system's words.
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{target}: {error}"));
    let stream = TcpStream::connect(target).await.map_err(named)?;
    stream.set_nodelay(true)?;
    // The library's words for it are for programmers.
    let ended = |error: io::Error| match error.kind() {
        kind @ io::ErrorKind::UnexpectedEof => {
            io::Error::new(kind, format!("{target} closed the connection"))
        }
        _ => error,
    };
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(ended)?;
    credentials.check_peer(&stream)?;
    Ok(TokioIo::new(stream))
}

/// Who answers as a manager of our own swarm at `addr`.
///
/// # Errors
/// [`io::Error`], where nobody answers or it is no manager of this swarm. Gives up only as TCP does.
pub async fn manager_at(addr: &str, materials: &TlsMaterials) -> io::Result<Identity> {
    let credentials = Credentials::Member(materials.clone());
    let stream = dial(addr, &credentials, false).await?.into_inner();
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = peer.ok_or_else(|| io::Error::other("no certificate"))?;
    Identity::from_certificate(peer).map_err(io::Error::other)
}

/// A channel to a service of this very process, whose calls come from `identity`, as if it had connected over TLS.
pub fn local_as<S>(identity: Identity, service: S) -> Channel
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    local_from(identity, None, service)
}

/// As [`local_as`], for a caller that other nodes know under an address.
pub fn local_from<S>(identity: Identity, remote_addr: Option<SocketAddr>, service: S) -> Channel
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let peer = PeerIdentity { identity: Some(identity), expired: None, remote_addr };
    swarm_proto::channel::local(Identified { peer, service })
}

/// Puts the peer among each request's extensions.
#[derive(Clone)]
struct Identified<S> {
    peer: PeerIdentity,
    service: S,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Identified<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        Box::pin(self.service.call(request))
    }
}

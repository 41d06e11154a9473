//! One channel type for every gRPC client, whether the service runs in this process or behind mutual TLS.
//!
//! A generated client is generic over its transport; fixing it to [`Channel`] lets the Engine API talk to the local
//! manager without a socket and to the leader over the network by the same code.

use std::convert::Infallible;
use std::error::Error;

use http::{Request, Response};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// What a channel answers when it cannot carry a request at all.
pub type ChannelError = Box<dyn Error + Send + Sync>;

/// A cloneable gRPC transport: in this process or to a peer.
pub type Channel = BoxCloneSyncService<Request<Body>, Response<Body>, ChannelError>;

/// Makes a [`Channel`] of a service in this process, such as a generated server; nothing is sent over a socket.
pub fn local<S>(service: S) -> Channel
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(|never| match never {}))
}

//! One channel type for every gRPC client, whether the service runs in this process or behind mutual TLS.
//!
//! A generated client is generic over its transport; fixing it to [`Channel`] lets the Engine API talk to the local
//! manager without a socket and to the leader over the network by the same code.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use http::{Request, Response};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// What a channel answers when it cannot carry a request at all.
///
/// A type of its own rather than the boxed error itself, since futures that hold a client with the latter cannot be
/// spawned (the compiler finds their `From` "not general enough").
#[derive(Debug)]
pub struct ChannelError(Box<dyn Error + Send + Sync>);

impl ChannelError {
    /// Wraps a transport's error.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ChannelError {
    // The wrapped error itself, so that gRPC finds the status or connection error in it.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

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

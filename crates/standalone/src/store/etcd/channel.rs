//! Connections to etcd.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::super::CONNECT_TIMEOUT;
use super::super::tls::Tls;

/// How often a silent connection with a watch on it is tried: etcd refuses whoever does it every five seconds.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads and writes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A channel to `host:port`, which connects when it is used.
pub(super) fn to(addr: &str, tls: Option<Tls>) -> Channel {
    let endpoint = Endpoint::from_static("http://etcd")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    let addr = addr.to_owned();
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (addr, tls) = (addr.clone(), tls.clone());
        async move {
            let dialled = tokio::time::timeout(CONNECT_TIMEOUT, dial(&addr, tls)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
            dialled.unwrap_or_else(|_| Err(late())).map(TokioIo::new)
        }
    }))
}

async fn dial(addr: &str, tls: Option<Tls>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(match tls {
        Some(tls) => Box::new(tls.wrap(addr, stream).await?),
        None => Box::new(stream),
    })
}

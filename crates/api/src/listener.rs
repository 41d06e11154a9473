//! Where clients come in: unix sockets, TCP, and TCP with TLS.
//!
//! Binding is the caller's business (ports and permissions are its flags); accepting is done here.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

/// A bound socket that the API is served on.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP socket without protection.
    Tcp(TcpListener),
    /// A TCP socket whose clients speak TLS.
    Tls(TcpListener, Arc<ServerConfig>),
}

/// A client's byte stream, whatever it came in through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection as accepted; TLS still has to shake hands.
pub(crate) enum Accepted {
    Plain(Box<dyn Stream>),
    Tls(Box<tokio_rustls::Accept<tokio::net::TcpStream>>),
}

impl Accepted {
    /// Finishes what the transport asks for before HTTP begins.
    pub(crate) async fn establish(self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Plain(stream) => Ok(stream),
            Self::Tls(accept) => Ok(Box::new(accept.await?)),
        }
    }
}

impl Listener {
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Plain(Box::new(stream)))
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Plain(Box::new(stream)))
            }
            Self::Tls(listener, config) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tls(Box::new(TlsAcceptor::from(config.clone()).accept(stream))))
            }
        }
    }
}

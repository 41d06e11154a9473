//! TLS to a store, from the files that the discovery options name.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::discovery::Entry;

/// The files of `kv.cacertfile`, `kv.certfile` and `kv.keyfile`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TlsFiles {
    /// Whom to trust beside the system's authorities.
    pub(crate) authority: Option<String>,
    /// What to show: certificate and key.
    pub(crate) own: Option<(String, String)>,
}

/// Files that make no TLS.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("could not read CA certificate \"{file}\": {error}")]
    ReadAuthority {
        /// Its name.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    #[error("failed to append certificates from PEM file: \"{0}\"")]
    NoAuthority(String),
    #[error("Could not load X509 key pair: {0}")]
    KeyPair(String),
    #[error(
        "CONSUL_HTTP_SSL_VERIFY=false is refused: name Consul's authority by --discovery-opt kv.cacertfile=FILE instead"
    )]
    Unverified,
}

/// How to speak TLS with a store.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl TlsFiles {
    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        // Where the system has none, those of the file are all there are.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.authority {
            let text = std::fs::read(file)
                .map_err(|error| TlsError::ReadAuthority { file: file.clone(), error })?;
            let read = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
            let (added, _) = roots.add_parsable_certificates(read.unwrap_or_default());
            if added == 0 {
                return Err(TlsError::NoAuthority(file.clone()));
            }
        }
        let failed = |error: &dyn std::fmt::Display| TlsError::KeyPair(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots);
        let config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate)
                    .and_then(Iterator::collect)
                    .map_err(|error| failed(&format_args!("{certificate}: {error}")))?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| failed(&format_args!("{key}: {error}")))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| failed(&error))?
            }
        };
        Ok(Tls(Arc::new(config)))
    }
}

impl Tls {
    /// With a protocol that is agreed on in the handshake, such as `h2`.
    pub(super) fn speaking(&self, protocol: &str) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self(Arc::new(config))
    }

    /// Speaks TLS with `host:port` on a connection to it.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = Entry::parse(host).map_or_else(|_| host.to_owned(), |entry| entry.host);
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }
}

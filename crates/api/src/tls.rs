//! TLS for TCP clients: the server's certificate, and whether clients must show theirs.
//!
//! Mirrors dockerd's `--tls` (encrypted, anybody) and `--tlsverify` (a certificate of the given CA is required).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Whether clients have to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// `--tls`: clients are not asked.
    NotAsked,
    /// A certificate is verified if a client shows one.
    Optional,
    /// `--tlsverify`: without a certificate of the CA nobody gets in.
    Required,
}

/// The PEM files that dockerd's flags name.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// `--tlscacert`: the CA of the clients.
    pub ca_cert: PathBuf,
    /// `--tlscert`: the server's certificate chain.
    pub cert: PathBuf,
    /// `--tlskey`: the server's private key.
    pub key: PathBuf,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("could not read TLS file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file does not contain what it should.
    #[error("could not parse TLS file {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The CA's certificates verify nobody.
    #[error("could not use the CA of {}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Certificate and key do not fit, or TLS is misconfigured.
    #[error("could not set up TLS")]
    Configure(#[source] rustls::Error),
}

/// The TLS configuration for [`crate::Listener::Tls`].
pub fn server_config(
    files: &TlsFiles,
    clients: ClientCertificates,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Configure)?;
    let builder = match clients {
        ClientCertificates::NotAsked => builder.with_no_client_auth(),
        asked => {
            let verifier = WebPkiClientVerifier::builder_with_provider(
                client_roots(&files.ca_cert)?,
                provider,
            );
            let verifier = match asked {
                ClientCertificates::Required => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|e| TlsError::ClientCa {
                path: files.ca_cert.clone(),
                source: e.into(),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates(&files.cert)?, private_key(&files.key)?)
        .map_err(TlsError::Configure)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn client_roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|e| TlsError::ClientCa { path: path.to_owned(), source: e.into() })?;
    }
    Ok(Arc::new(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_reader_iter(open(path)?)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Parse { path: path.to_owned(), source })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_reader(open(path)?)
        .map_err(|source| TlsError::Parse { path: path.to_owned(), source })
}

fn open(path: &Path) -> Result<File, TlsError> {
    File::open(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

//! By what certificates a cluster and this know each other, read from the files that the command line names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use swarm_ca::AnyCertificate;
use thiserror::Error;

/// What the command line says of certificates.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    /// Whose signature the cluster's certificate must have.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate that is shown to the cluster, and its key.
    pub(crate) pair: Option<(PathBuf, PathBuf)>,
    pub(crate) is_verified: bool,
}

/// Certificates that are of no use.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("error loading tls {what} {}: {problem}", path.display())]
    File { what: &'static str, path: PathBuf, problem: String },
    #[error("error configuring tls: {0}")]
    Config(#[from] rustls::Error),
}

impl Certificates {
    /// # Errors
    /// [`TlsError`], with the file that is at fault.
    pub(crate) fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match (&self.ca, self.is_verified) {
            (Some(path), true) => builder.with_root_certificates(roots(path)?),
            (None, true) => builder.with_root_certificates(RootCertStore::empty()),
            (_, false) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider))),
        };
        let Some((cert_path, key_path)) = &self.pair else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = chain("cert", cert_path)?;
        let key = PrivateKeyDer::from_pem_file(key_path);
        let key = key.map_err(|error| unreadable("key", key_path, &error))?;
        Ok(builder.with_client_auth_cert(chain, key)?)
    }
}

/// The name that a cluster's certificate must have.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(host.to_owned())
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain("ca cert", path)? {
        roots.add(certificate).map_err(|error| unreadable("ca cert", path, &error))?;
    }
    Ok(roots)
}

fn chain(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path);
    let read = read.and_then(|certificates| certificates.collect::<Result<Vec<_>, pem::Error>>());
    let chain = read.map_err(|error| unreadable(what, path, &error))?;
    if chain.is_empty() {
        return Err(unreadable(what, path, &"there is no certificate in it"));
    }
    Ok(chain)
}

fn unreadable(what: &'static str, path: &Path, problem: &dyn ToString) -> TlsError {
    TlsError::File { what, path: path.to_owned(), problem: problem.to_string() }
}

//! The manager's certificate, for its clients and for the engines alike, and whose certificates it believes.
//!
//! Mirrors docker/swarm's `--tls` (encrypted, nobody is asked who they are) and `--tlsverify` (everybody is, by one CA).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use swarm_ca::AnyCertificate;
use thiserror::Error;

/// The PEM files that the flags name.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// With it, everybody has to prove who they are.
    pub(crate) ca: Option<PathBuf>,
}

/// Both sides of TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

/// The files are of no use.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("Couldn't load X509 key pair ({}, {}): {problem}. Key encrypted?", cert.display(), key.display())]
    KeyPair { cert: PathBuf, key: PathBuf, problem: String },
    #[error("Couldn't read CA certificate: {path}: {problem}", path = path.display())]
    Ca { path: PathBuf, problem: String },
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], which names them.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let key_pair = |problem: String| TlsError::KeyPair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            problem,
        };
        let (chain, key) =
            read_key_pair(&files.cert, &files.key).map_err(|error| key_pair(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = files.ca.as_deref().map(read_roots).transpose()?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| key_pair(error.to_string()))?;
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| key_pair(error.to_string()))?;
        let (server, client) = match (roots, &files.ca) {
            (Some(roots), Some(path)) => {
                let refused = |problem: String| TlsError::Ca { path: path.clone(), problem };
                let clients =
                    WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                        .build();
                let clients = clients.map_err(|error| refused(error.to_string()))?;
                let engines = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
                let engines = engines.map_err(|error| refused(error.to_string()))?;
                (server.with_client_cert_verifier(clients), client.with_webpki_verifier(engines))
            }
            _ => (
                server.with_no_client_auth(),
                client
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider))),
            ),
        };
        let mut server = server
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| key_pair(error.to_string()))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = client
            .with_client_auth_cert(chain, key)
            .map_err(|error| key_pair(error.to_string()))?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn read_key_pair(
    cert: &Path,
    key: &Path,
) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let named = |path: &Path, problem: &dyn std::fmt::Display| {
        io::Error::other(format!("{}: {problem}", path.display()))
    };
    let text = |path: &Path| fs::read(path).map_err(|error| named(path, &error));
    let chain = certificates(&text(cert)?).map_err(|error| named(cert, &error))?;
    let key_text = text(key)?;
    let key = PrivateKeyDer::from_pem_slice(&key_text).map_err(|error| named(key, &error))?;
    Ok((chain, key))
}

fn read_roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let refused = |problem: String| TlsError::Ca { path: path.to_owned(), problem };
    let text = fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&text).map_err(|error| refused(error.to_string()))? {
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

/// At least one.
fn certificates(text: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(io::Error::other)?;
    match all.is_empty() {
        true => Err(io::Error::other("there is no certificate in it")),
        false => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_files_are_named() {
        let folder = std::env::temp_dir().join(format!("swarm-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("write");
            path
        };
        let pair = || {
            let key = rcgen::KeyPair::generate().expect("a key");
            let params = rcgen::CertificateParams::new(vec!["a".to_owned()]).expect("params");
            (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
        };
        let ((cert, key), (_, other)) = (pair(), pair());
        let files = |ca: Option<&PathBuf>| TlsFiles {
            cert: write("cert.pem", &cert),
            key: write("key.pem", &key),
            ca: ca.cloned(),
        };
        let empty = write("empty.pem", "");
        Tls::load(&files(None)).expect("good files");
        Tls::load(&files(Some(&files(None).cert))).expect("good files and a CA");
        for (files, expect) in [
            (TlsFiles { cert: folder.join("none"), ..files(None) }, "Couldn't load X509 key pair"),
            (TlsFiles { key: empty.clone(), ..files(None) }, "Key encrypted?"),
            (TlsFiles { key: write("other.pem", &other), ..files(None) }, "Key encrypted?"),
            (files(Some(&empty)), "there is no certificate in it"),
            (files(Some(&folder.join("none"))), "Couldn't read CA certificate: "),
        ] {
            let said = Tls::load(&files).expect_err("refused").to_string();
            assert!(said.contains(expect), "{said}");
        }
        let _ = fs::remove_dir_all(&folder);
    }
}

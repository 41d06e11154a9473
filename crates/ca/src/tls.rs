//! rustls configurations for the three ways in which nodes meet: as members, on joining, and before anything is known.
//!
//! Sessions are never resumed: a resumed session would keep the role of a certificate that has since been replaced.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::PrivateKeyDer;

use crate::grace::Graceful;
use crate::{AnyCertificate, CaError, NodeCertificate, RootCa};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The cryptography that all of our TLS uses.
pub(crate) fn provider() -> &'static CryptoProvider {
    &PROVIDER
}

/// gRPC speaks HTTP/2 and nothing else.
fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec()]
}

/// HTTP/2 too, on a connection of managers that must not wait behind others. Managers of stock Docker pass over it.
pub(crate) const EXPRESS: &[u8] = b"swarm-express";

/// The client side of such a connection.
pub(crate) fn express(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.alpn_protocols.insert(0, EXPRESS.to_vec());
    config
}

/// A manager's server side: certificates of clients are verified if they have one, since joining nodes don't.
pub(crate) fn server(root: &RootCa, node: &NodeCertificate) -> Result<ServerConfig, CaError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(root.roots().clone(), PROVIDER.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|e| CaError::Untrusted(e.to_string()))?;
    let verifier: Arc<dyn ClientCertVerifier> = verifier;
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .map_err(CaError::Tls)?
        .with_client_cert_verifier(Arc::new(Graceful(verifier)))
        .with_single_cert(node.chain.clone(), PrivateKeyDer::Pkcs8(node.key.clone_key()))
        .map_err(CaError::Tls)?;
    config.alpn_protocols = alpn();
    config.alpn_protocols.insert(0, EXPRESS.to_vec());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A member's client side.
pub(crate) fn client(root: &RootCa, node: &NodeCertificate) -> Result<ClientConfig, CaError> {
    let verifier: Arc<dyn ServerCertVerifier> =
        WebPkiServerVerifier::builder_with_provider(root.roots().clone(), PROVIDER.clone())
            .build()
            .map_err(|e| CaError::Untrusted(e.to_string()))?;
    // Managers that all were away for long meet again, and then renew their certificates.
    let config = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Graceful(verifier)))
        .with_client_auth_cert(node.chain.clone(), PrivateKeyDer::Pkcs8(node.key.clone_key()))
        .map_err(CaError::Tls)?;
    Ok(finish(config))
}

/// The client side towards an external authority, which is HTTP: it shows the node's certificate.
pub(crate) fn external_client(
    root: &RootCa,
    node: &NodeCertificate,
) -> Result<ClientConfig, CaError> {
    client_builder()?
        .with_root_certificates(root.roots().clone())
        .with_client_auth_cert(node.chain.clone(), PrivateKeyDer::Pkcs8(node.key.clone_key()))
        .map_err(CaError::Tls)
}

/// The client side of a node that knows the root but has no certificate yet.
pub(crate) fn joining_client(root: &RootCa) -> Result<ClientConfig, CaError> {
    Ok(finish(client_builder()?.with_root_certificates(root.roots().clone()).with_no_client_auth()))
}

/// The client side of the very first contact: takes any certificate. Good for fetching the root, which is then
/// compared with the token's digest, and for nothing else; no secret may be sent over it.
pub(crate) fn unverified_client() -> Result<ClientConfig, CaError> {
    let config = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&PROVIDER)))
        .with_no_client_auth();
    Ok(finish(config))
}

fn client_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, CaError> {
    ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .map_err(CaError::Tls)
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = alpn();
    config.resumption = Resumption::disabled();
    config
}

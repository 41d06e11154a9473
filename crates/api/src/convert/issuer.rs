//! Who issues the nodes' certificates: subject and public key of the root, as `docker info` shows them.
//!
//! Mirrors SwarmKit's `ca.IssuerFromAPIRootCA`: during a root rotation it is the new root.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use swarm_proto::v1;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The parts of the root certificate that identify an issuer, as DER.
pub(crate) struct Issuer {
    pub(crate) subject: Vec<u8>,
    pub(crate) public_key: Vec<u8>,
}

pub(crate) fn issuer(root: &v1::RootCa) -> Option<Issuer> {
    let pem = root.root_rotation.as_ref().map_or(&root.ca_cert, |rotation| &rotation.ca_cert);
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(Issuer {
        subject: certificate.subject().as_raw().to_vec(),
        public_key: certificate.public_key().raw.to_vec(),
    })
}

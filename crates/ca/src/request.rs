//! A node's fresh key and the signing request made with it.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::CaError;

/// A new private key and the request to certify it. The key never leaves the node; the request carries nothing that
/// the authority trusts but the public key.
pub struct SigningRequest {
    key_pem: Vec<u8>,
    csr_pem: Vec<u8>,
}

impl SigningRequest {
    /// Makes an ECDSA P-256 key and its request.
    pub fn generate() -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(CaError::Sign)?;
        let csr_pem = request.pem().map_err(CaError::Sign)?.into_bytes();
        Ok(Self { key_pem: key.serialize_pem().into_bytes(), csr_pem })
    }

    /// The private key, PKCS#8 in PEM.
    pub fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }

    /// The request, in PEM.
    pub fn csr_pem(&self) -> &[u8] {
        &self.csr_pem
    }
}

//! A node's certificate with its chain and key, checked against the root before anyone uses it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use crate::{CaError, Identity, RootCa, Validity, pem, tls};

/// A certificate that the root vouches for, and the key that belongs to it.
#[derive(Debug)]
pub struct NodeCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivatePkcs8KeyDer<'static>,
    identity: Identity,
    validity: Validity,
    issuer_subject: Vec<u8>,
    issuer_public_key: Vec<u8>,
}

impl NodeCertificate {
    /// Reads chain and key, and checks that they belong together, chain up to the root and are valid now.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8], root: &RootCa) -> Result<Self, CaError> {
        let certificate = Self::read(chain_pem, key_pem, root)?;
        certificate.check_against(root, SystemTime::now())?;
        Ok(certificate)
    }

    /// As [`Self::from_pem`], but a certificate that has expired is taken too: the node asks for a new one with it.
    pub fn from_pem_even_if_expired(
        chain_pem: &[u8],
        key_pem: &[u8],
        root: &RootCa,
    ) -> Result<Self, CaError> {
        let certificate = Self::read(chain_pem, key_pem, root)?;
        let last_moment = certificate.validity.not_after - Duration::from_secs(1);
        certificate.check_against(root, SystemTime::now().min(last_moment))?;
        Ok(certificate)
    }

    fn read(chain_pem: &[u8], key_pem: &[u8], root: &RootCa) -> Result<Self, CaError> {
        let chain = pem::certificates(chain_pem)?;
        let key = pem::private_key(key_pem)?;
        let identity = Identity::from_certificate(&chain[0])?;
        let leaf = pem::parse(&chain[0])?;
        let moment = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.max(0) as u64);
        let validity = Validity {
            not_before: moment(leaf.validity().not_before.timestamp()),
            not_after: moment(leaf.validity().not_after.timestamp()),
        };
        let issuer_subject = leaf.issuer().as_raw().to_vec();
        let issuer_public_key = issuer_key(&chain, root, &issuer_subject)?;
        CertifiedKey::from_der(
            chain.clone(),
            PrivateKeyDer::Pkcs8(key.clone_key()),
            tls::provider(),
        )
        .map_err(|_| CaError::KeyMismatch)?;
        Ok(Self { chain, key, identity, validity, issuer_subject, issuer_public_key })
    }

    /// Whether the certificate chains up to this root and is valid at that time.
    pub fn check_against(&self, root: &RootCa, now: SystemTime) -> Result<(), CaError> {
        let untrusted = |e: &dyn std::fmt::Display| CaError::Untrusted(e.to_string());
        let verifier = WebPkiServerVerifier::builder_with_provider(
            root.roots().clone(),
            Arc::new(tls::provider().clone()),
        )
        .build()
        .map_err(|e| untrusted(&e))?;
        let name = ServerName::try_from(self.identity.role.as_str()).map_err(|e| untrusted(&e))?;
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        verifier
            .verify_server_cert(
                &self.chain[0],
                &self.chain[1..],
                &name,
                &[],
                UnixTime::since_unix_epoch(since_epoch),
            )
            .map(|_| ())
            .map_err(|e| untrusted(&e))
    }

    /// Whom the certificate names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How long it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The issuer's subject, in DER.
    pub fn issuer_subject(&self) -> &[u8] {
        &self.issuer_subject
    }

    /// The issuer's public key, a SubjectPublicKeyInfo in DER.
    pub fn issuer_public_key(&self) -> &[u8] {
        &self.issuer_public_key
    }
}

/// The key of the certificate whose subject is the leaf's issuer, among the chain or the roots.
fn issuer_key(
    chain: &[CertificateDer<'_>],
    root: &RootCa,
    subject: &[u8],
) -> Result<Vec<u8>, CaError> {
    let roots = pem::certificates(root.certificates_pem())?;
    for candidate in chain[1..].iter().chain(&roots) {
        let parsed = pem::parse(candidate)?;
        if parsed.subject().as_raw() == subject {
            return Ok(parsed.public_key().raw.to_vec());
        }
    }
    Err(CaError::Untrusted("unknown issuer".to_owned()))
}

/// When the first certificate of a chain in PEM expires; none where there is none that can be read.
pub fn certificate_expiry(chain_pem: &[u8]) -> Option<SystemTime> {
    let chain = pem::certificates(chain_pem).ok()?;
    let seconds = pem::parse(chain.first()?).ok()?.validity().not_after.timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

//! Signs node certificates: of a request only the public key is trusted, all else is the authority's word.
//!
//! Mirrors SwarmKit's `SigningPolicy` and `PrepareCSR`.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::cross_sign::cross_sign;
use crate::identity::CA_NAME;
use crate::{CaError, Identity, Role, pem};

/// How long a node certificate is valid where the cluster says nothing else.
pub const DEFAULT_NODE_CERTIFICATE_EXPIRY: Duration = Duration::from_secs(90 * 24 * 3600);
/// Shorter times than this are ignored in favour of the default, as SwarmKit does.
pub const MIN_NODE_CERTIFICATE_EXPIRY: Duration = Duration::from_secs(3600);
/// Certificates are valid from a while ago, because clocks of nodes differ.
const BACKDATE: Duration = Duration::from_secs(3600);
/// 20 years, SwarmKit's `RootCAExpiration`.
const ROOT_EXPIRY: Duration = Duration::from_secs(630_720_000);

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// The validity of a node certificate issued at `now`: `expiry` from now and an hour back.
    pub fn of_node(now: SystemTime, expiry: Duration) -> Self {
        let expiry = if expiry < MIN_NODE_CERTIFICATE_EXPIRY {
            DEFAULT_NODE_CERTIFICATE_EXPIRY
        } else {
            expiry
        };
        Self { not_before: now - BACKDATE, not_after: now + expiry }
    }

    fn of_root(now: SystemTime) -> Self {
        Self { not_before: now - BACKDATE, not_after: now + ROOT_EXPIRY }
    }

    fn apply(self, params: &mut CertificateParams) {
        params.not_before = OffsetDateTime::from(self.not_before);
        params.not_after = OffsetDateTime::from(self.not_after);
    }
}

/// The key and certificate that sign.
pub(crate) struct Signer {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    key_pem: Vec<u8>,
}

impl Signer {
    /// Makes a new self-signed root.
    pub(crate) fn new_root(now: SystemTime) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, CA_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Validity::of_root(now).apply(&mut params);
        let certificate = params.self_signed(&key).map_err(CaError::Sign)?.der().clone();
        let key_pem = key.serialize_pem().into_bytes();
        Ok(Self { issuer: Issuer::new(params, key), certificate, key_pem })
    }

    /// Takes up an existing certificate and its key.
    pub(crate) fn from_pem(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, CaError> {
        let certificate = pem::certificates(certificate_pem)?.remove(0);
        let key = KeyPair::try_from(pem::private_key(key_pem)?.secret_pkcs8_der())
            .map_err(|_| CaError::MalformedKey)?;
        let public = pem::parse(&certificate)?.public_key().subject_public_key.data.to_vec();
        if public != key.public_key_raw() {
            return Err(CaError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(CaError::Sign)?;
        Ok(Self { issuer, certificate, key_pem: key_pem.to_vec() })
    }

    pub(crate) fn certificate_pem(&self) -> Vec<u8> {
        pem::encode_certificates(std::slice::from_ref(&self.certificate))
    }

    pub(crate) fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }

    /// Issues another root's certificate once more, so that what that root signs chains up to this one.
    pub(crate) fn cross_sign(&self, root: &CertificateDer<'_>) -> Result<Vec<u8>, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Sign)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        let sample = params.signed_by(&key, &self.issuer).map_err(CaError::Sign)?;
        let certificate = cross_sign(root, &self.issuer, sample.der())?;
        Ok(pem::encode_certificates(&[certificate]))
    }

    /// A request to certify this signer's own key.
    pub(crate) fn request(&self) -> Result<Vec<u8>, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, CA_NAME);
        let request = params.serialize_request(self.issuer.key()).map_err(CaError::Sign)?;
        Ok(request.pem().map_err(CaError::Sign)?.into_bytes())
    }

    /// Certifies the request's key as the identity's.
    pub(crate) fn sign(
        &self,
        csr_pem: &[u8],
        identity: &Identity,
        validity: Validity,
    ) -> Result<Vec<u8>, CaError> {
        let key = public_key(csr_pem)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, identity.organization.as_str());
        params.distinguished_name.push(DnType::OrganizationalUnitName, identity.role.as_str());
        params.distinguished_name.push(DnType::CommonName, identity.node_id.as_str());
        params.subject_alt_names = alternative_names(identity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        validity.apply(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).map_err(CaError::Sign)?;
        Ok(pem::encode("CERTIFICATE", certificate.der()))
    }
}

/// The names by which others address the node: its role, its ID and, for managers, the authority.
fn alternative_names(identity: &Identity) -> Result<Vec<SanType>, CaError> {
    let authority = (identity.role == Role::Manager).then_some(CA_NAME);
    [identity.role.as_str(), identity.node_id.as_str()]
        .into_iter()
        .chain(authority)
        .map(|name| name.try_into().map(SanType::DnsName).map_err(CaError::Sign))
        .collect()
}

/// The public key of a request whose own signature proves that the sender has the private one.
fn public_key(csr_pem: &[u8]) -> Result<SubjectPublicKeyInfo, CaError> {
    let invalid = |what: &str| CaError::InvalidSigningRequest(what.to_owned());
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem)
        .map_err(|_| invalid("not a PEM request"))?;
    let (_, request) =
        X509CertificationRequest::from_der(&der).map_err(|_| invalid("malformed request"))?;
    request.verify_signature().map_err(|_| invalid("the request's signature is wrong"))?;
    SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| invalid("unsupported key"))
}

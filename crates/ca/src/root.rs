//! A swarm's root of trust, with the key to sign where this node has it.
//!
//! Mirrors SwarmKit's `RootCA`. During a root rotation the signing certificate is an intermediate, cross-signed by the
//! old root, that is appended to what is issued.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use sha2::{Digest as _, Sha256};
use swarm_proto::v1;
use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;

use crate::signer::Signer;
use crate::{CaError, DEFAULT_NODE_CERTIFICATE_EXPIRY, Identity, Validity, pem};

/// SHA-256 of a bundle of root certificates as it stands in its PEM file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootDigest(pub [u8; 32]);

impl RootDigest {
    /// The digest of a bundle.
    pub fn of(bundle: &[u8]) -> Self {
        Self(Sha256::digest(bundle).into())
    }

    /// The digest in hexadecimal.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

/// One or more self-signed root certificates, and the signer if its key is here.
#[derive(Clone)]
pub struct RootCa {
    bundle: Arc<[u8]>,
    digest: RootDigest,
    roots: Arc<RootCertStore>,
    intermediates: Arc<[u8]>,
    signer: Option<Arc<Signer>>,
}

impl RootCa {
    /// Makes a new root: ECDSA P-256, CN `swarm-ca`, valid 20 years.
    pub fn create() -> Result<Self, CaError> {
        let signer = Signer::new_root(SystemTime::now())?;
        let bundle = signer.certificate_pem();
        Ok(Self { signer: Some(Arc::new(signer)), ..Self::from_pem(&bundle)? })
    }

    /// Trusts the bundle's certificates, without a key to sign.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, CaError> {
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(bundle)? {
            check_root(&pem::parse(&certificate)?)?;
            roots.add(certificate).map_err(CaError::Tls)?;
        }
        Ok(Self {
            bundle: bundle.into(),
            digest: RootDigest::of(bundle),
            roots: Arc::new(roots),
            intermediates: Arc::default(),
            signer: None,
        })
    }

    /// Trusts the bundle and signs with this certificate's key; `intermediates` go with every issued certificate.
    pub fn with_signer(
        bundle: &[u8],
        certificate_pem: &[u8],
        key_pem: &[u8],
        intermediates: &[u8],
    ) -> Result<Self, CaError> {
        let signer = Signer::from_pem(certificate_pem, key_pem)?;
        Ok(Self {
            signer: Some(Arc::new(signer)),
            intermediates: intermediates.into(),
            ..Self::from_pem(bundle)?
        })
    }

    /// The root that a cluster object describes, in the midst of a rotation or not.
    pub fn from_cluster(root: &v1::RootCa) -> Result<Self, CaError> {
        let (certificate, key, intermediates) = match &root.root_rotation {
            Some(rotation) => (
                &rotation.cross_signed_ca_cert,
                &rotation.ca_key,
                &rotation.cross_signed_ca_cert[..],
            ),
            None => (&root.ca_cert, &root.ca_key, &[][..]),
        };
        if key.is_empty() {
            let trusted = Self::from_pem(&root.ca_cert)?;
            return Ok(Self { intermediates: intermediates.into(), ..trusted });
        }
        Self::with_signer(&root.ca_cert, certificate, key, intermediates)
    }

    /// The root of the rotation that a cluster is in the midst of, as it will be when that ends.
    pub fn of_rotation(rotation: &v1::RootRotation) -> Result<Self, CaError> {
        match rotation.ca_key.as_slice() {
            [] => Self::from_pem(&rotation.ca_cert),
            key => Self::with_signer(&rotation.ca_cert, &rotation.ca_cert, key, &[]),
        }
    }

    /// The certificate of another root, in PEM, issued by this one: what the other signs then chains up to either.
    pub fn cross_sign(&self, root_pem: &[u8]) -> Result<Vec<u8>, CaError> {
        let signer = self.signer.as_ref().ok_or(CaError::NoSigner)?;
        signer.cross_sign(&pem::certificates(root_pem)?[0])
    }

    /// A request to certify this root's own key, by which another authority cross-signs it; in PEM.
    pub(crate) fn signing_request(&self) -> Result<Vec<u8>, CaError> {
        self.signer.as_ref().ok_or(CaError::NoSigner)?.request()
    }

    /// Whether all of the root's certificates are valid for at least that long from now.
    pub fn is_valid_for(&self, time: Duration) -> bool {
        let until = SystemTime::now() + time;
        let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        pem::certificates(&self.bundle).is_ok_and(|certificates| {
            certificates.iter().all(|certificate| {
                pem::parse(certificate)
                    .is_ok_and(|c| c.validity().not_after.timestamp() >= until as i64)
            })
        })
    }

    /// How many certificates the bundle has.
    pub fn certificates(&self) -> usize {
        self.roots.len()
    }

    /// The trusted certificates, in PEM.
    pub fn certificates_pem(&self) -> &[u8] {
        &self.bundle
    }

    /// What goes with every certificate that this root issues, in PEM; mostly nothing.
    pub fn intermediates_pem(&self) -> &[u8] {
        &self.intermediates
    }

    /// The signing key in PEM, where it is here.
    pub fn key_pem(&self) -> Option<&[u8]> {
        self.signer.as_deref().map(Signer::key_pem)
    }

    /// Whether this root can sign.
    pub fn can_sign(&self) -> bool {
        self.signer.is_some()
    }

    /// What join tokens name the root by.
    pub fn digest(&self) -> RootDigest {
        self.digest
    }

    /// Certifies the key of a request as this identity's, for `expiry` from now.
    pub fn sign(
        &self,
        csr_pem: &[u8],
        identity: &Identity,
        expiry: Duration,
    ) -> Result<Vec<u8>, CaError> {
        self.sign_for(csr_pem, identity, Validity::of_node(SystemTime::now(), expiry))
    }

    /// Certifies the key of a request as this identity's, for that time.
    pub fn sign_for(
        &self,
        csr_pem: &[u8],
        identity: &Identity,
        validity: Validity,
    ) -> Result<Vec<u8>, CaError> {
        let signer = self.signer.as_ref().ok_or(CaError::NoSigner)?;
        let mut chain = signer.sign(csr_pem, identity, validity)?;
        chain.extend_from_slice(&self.intermediates);
        Ok(chain)
    }

    /// Issues a certificate to this very node: its key, and the chain, both in PEM.
    pub fn issue(&self, identity: &Identity) -> Result<(Vec<u8>, Vec<u8>), CaError> {
        self.issue_for(identity, DEFAULT_NODE_CERTIFICATE_EXPIRY)
    }

    /// As [`Self::issue`], valid for `expiry` from now.
    pub fn issue_for(
        &self,
        identity: &Identity,
        expiry: Duration,
    ) -> Result<(Vec<u8>, Vec<u8>), CaError> {
        let request = crate::SigningRequest::generate()?;
        let chain = self.sign(request.csr_pem(), identity, expiry)?;
        Ok((request.key_pem().to_vec(), chain))
    }

    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa")
            .field("digest", &self.digest)
            .field("can_sign", &self.can_sign())
            .finish()
    }
}

/// What tells who issued a certificate: as nodes tell it of theirs, in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The issuer's subject.
    pub subject: Vec<u8>,
    /// The issuer's public key, a SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
}

impl Issuer {
    /// The root that the nodes of a cluster are to have their certificates of: during a rotation the new one.
    pub fn wanted(root: &v1::RootCa) -> Result<Self, CaError> {
        let bundle =
            root.root_rotation.as_ref().map_or(&root.ca_cert, |rotation| &rotation.ca_cert);
        let certificate = pem::certificates(bundle)?.remove(0);
        let parsed = pem::parse(&certificate)?;
        Ok(Self {
            subject: parsed.subject().as_raw().to_vec(),
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    /// Whether a node has told that its certificate is of this issuer.
    pub fn is_of(&self, node: &v1::Node) -> bool {
        let told = node.description.as_ref().and_then(|description| description.tls_info.as_ref());
        told.is_some_and(|told| {
            told.cert_issuer_subject == self.subject
                && told.cert_issuer_public_key == self.public_key
        })
    }
}

/// Certificates in PEM as they are compared: without headers, comments and stray whitespace.
pub fn normalize_pem(bundle: &[u8]) -> Result<Vec<u8>, CaError> {
    Ok(pem::encode_certificates(&pem::certificates(bundle)?))
}

/// A root signs itself, may sign others, and is valid now.
fn check_root(certificate: &X509Certificate<'_>) -> Result<(), CaError> {
    let refuse = |why: &str| Err(CaError::InvalidRoot(why.to_owned()));
    if !certificate.is_ca() {
        return refuse("certificate not a CA");
    }
    if certificate.verify_signature(None).is_err() {
        return refuse("certificate is not self-signed");
    }
    if !certificate.validity().is_valid_at(ASN1Time::now()) {
        return refuse("certificate has expired or is not yet valid");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JoinToken, Role};

    fn identity(role: Role) -> Identity {
        Identity { node_id: "node1".into(), role, organization: "cluster1".into() }
    }

    /// Root certificate and worker token that a stock engine 20.10 made at `docker swarm init`.
    #[test]
    fn digest_is_the_one_in_a_stock_token() {
        let root = RootCa::from_pem(include_bytes!("../testdata/stock-root.crt"))
            .expect("a stock root is trusted");
        let token = include_str!("../testdata/stock-token.txt").trim();
        assert_eq!(JoinToken::parse(token).expect("a stock token parses").digest(), root.digest());
    }

    /// A request that a stock engine 20.10 sent to join.
    #[test]
    fn certifies_a_stock_request() {
        let root = RootCa::create().expect("created");
        let chain = root
            .sign(
                include_bytes!("../testdata/stock-node.csr"),
                &identity(Role::Worker),
                DEFAULT_NODE_CERTIFICATE_EXPIRY,
            )
            .expect("signed");
        let der = pem::certificates(&chain).expect("a certificate").remove(0);
        assert_eq!(
            Identity::from_certificate(&der).expect("has a subject"),
            identity(Role::Worker)
        );
    }

    #[test]
    fn certificates_name_the_role() {
        let root = RootCa::create().expect("created");
        for (role, names) in [
            (Role::Worker, vec!["swarm-worker", "node1"]),
            (Role::Manager, vec!["swarm-manager", "node1", "swarm-ca"]),
        ] {
            let (_, chain) = root.issue(&identity(role)).expect("issued");
            let der = pem::certificates(&chain).expect("a certificate").remove(0);
            let certificate = pem::parse(&der).expect("parses");
            let san = certificate.subject_alternative_name().expect("readable").expect("present");
            let found: Vec<String> =
                san.value.general_names.iter().map(|n| n.to_string()).collect();
            assert_eq!(found, names.iter().map(|n| format!("DNSName({n})")).collect::<Vec<_>>());
            let usage = certificate.extended_key_usage().expect("readable").expect("present");
            assert!(usage.value.server_auth && usage.value.client_auth && !certificate.is_ca());
            let lifetime = certificate.validity().not_after.timestamp()
                - certificate.validity().not_before.timestamp();
            assert_eq!(lifetime, 90 * 24 * 3600 + 3600);
        }
    }

    #[test]
    fn clocks_may_be_an_hour_apart() {
        let root = RootCa::create().expect("created");
        let (key, chain) = root.issue(&identity(Role::Worker)).expect("issued");
        let node = crate::NodeCertificate::from_pem(&chain, &key, &root).expect("trusted");
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        for time in [now - hour, now, now + hour] {
            node.check_against(&root, time).expect("valid on that node's clock");
        }
        let (early, late) = (now - hour - hour, now + DEFAULT_NODE_CERTIFICATE_EXPIRY + hour);
        assert!([early, late].iter().all(|time| node.check_against(&root, *time).is_err()));
    }

    #[test]
    fn what_a_cross_signed_root_issues_chains_up_to_either() {
        let (old, new) = (RootCa::create().expect("created"), RootCa::create().expect("created"));
        let cross = old.cross_sign(new.certificates_pem()).expect("cross-signed");
        let rotation = v1::RootRotation {
            ca_cert: new.certificates_pem().to_vec(),
            ca_key: new.key_pem().expect("has a key").to_vec(),
            cross_signed_ca_cert: cross,
        };
        let stored = v1::RootCa {
            ca_cert: old.certificates_pem().to_vec(),
            ca_key: old.key_pem().expect("has a key").to_vec(),
            root_rotation: Some(rotation.clone()),
            ..Default::default()
        };
        let during = RootCa::from_cluster(&stored).expect("a root");
        let after = RootCa::of_rotation(&rotation).expect("a root");
        assert_eq!((during.digest(), after.digest()), (old.digest(), new.digest()));
        let (key, chain) = during.issue(&identity(Role::Worker)).expect("issued");
        let issuer = Issuer::wanted(&stored).expect("has one");
        for root in [&old, &new] {
            let node = crate::NodeCertificate::from_pem(&chain, &key, root).expect("trusted");
            assert_eq!(node.issuer_public_key(), issuer.public_key);
            assert_eq!(node.issuer_subject(), issuer.subject);
        }
        let (key, chain) = after.issue(&identity(Role::Worker)).expect("issued");
        assert!(crate::NodeCertificate::from_pem(&chain, &key, &new).is_ok());
        assert!(crate::NodeCertificate::from_pem(&chain, &key, &old).is_err());
        let stranger = RootCa::create().expect("created");
        assert!(crate::NodeCertificate::from_pem(&chain, &key, &stranger).is_err());
        assert!(old.cross_sign(b"none").is_err());
    }

    #[test]
    fn refuses_what_is_no_root_or_request() {
        let root = RootCa::create().expect("created");
        let (key, leaf) = root.issue(&identity(Role::Manager)).expect("issued");
        assert!(matches!(RootCa::from_pem(&leaf), Err(CaError::InvalidRoot(_))));
        assert!(matches!(RootCa::from_pem(b"none"), Err(CaError::NoRootCertificates)));
        assert!(matches!(
            RootCa::with_signer(root.certificates_pem(), root.certificates_pem(), &key, &[]),
            Err(CaError::KeyMismatch)
        ));
        let without_key = RootCa::from_pem(root.certificates_pem()).expect("trusted");
        assert!(matches!(without_key.issue(&identity(Role::Worker)), Err(CaError::NoSigner)));
        for request in [&b"rubbish"[..], &leaf] {
            let signed =
                root.sign(request, &identity(Role::Worker), DEFAULT_NODE_CERTIFICATE_EXPIRY);
            assert!(matches!(signed, Err(CaError::InvalidSigningRequest(_))));
        }
    }

    #[test]
    fn a_stored_root_signs_again() {
        let root = RootCa::create().expect("created");
        let stored = v1::RootCa {
            ca_cert: root.certificates_pem().to_vec(),
            ca_key: root.key_pem().expect("has a key").to_vec(),
            ..Default::default()
        };
        let restored = RootCa::from_cluster(&stored).expect("restored");
        assert_eq!(restored.digest(), root.digest());
        restored.issue(&identity(Role::Manager)).expect("signs");
    }
}

//! Certificates that have expired: for as long again as they were valid, a node that proves to have the key may ask for
//! a new one, and nothing else. A machine that was switched off for long comes back by itself that way.
//!
//! Here is only when that is so; who is let in with it is said where it is (`Authorizer::admitting_expired`).

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::pem;

/// The longest grace; certificates of the default are valid as long.
const GRACE_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

/// The time at which a certificate is to be judged: now, or while its grace lasts its last moment.
pub(crate) fn judged_at(certificate: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
    let Ok(parsed) = pem::parse(certificate) else { return now };
    let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
    let validity = parsed.validity();
    let (from, to) =
        (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    let grace = to.saturating_sub(from).min(GRACE_MAX.as_secs());
    match now.as_secs() {
        now if now > to && now - to <= grace => UnixTime::since_unix_epoch(Duration::from_secs(to)),
        _ => now,
    }
}

/// Whether a certificate that was let in has in truth expired.
pub(crate) fn is_expired(certificate: &CertificateDer<'_>) -> bool {
    let now = UnixTime::now();
    judged_at(certificate, now) != now
}

/// Judges peers as the verifier within does, at the time that [`judged_at`] says.
#[derive(Debug)]
pub(crate) struct Graceful<V: ?Sized>(pub(crate) Arc<V>);

impl ClientCertVerifier for Graceful<dyn ClientCertVerifier> {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.verify_client_cert(end_entity, intermediates, judged_at(end_entity, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Graceful<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let at = judged_at(end_entity, now);
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::{Identity, Role, RootCa, SigningRequest, Validity};

    #[test]
    fn grace_lasts_as_long_as_the_certificate_did() {
        let root = RootCa::create().expect("a root");
        let request = SigningRequest::generate().expect("a request");
        let identity =
            Identity { node_id: "n".into(), role: Role::Worker, organization: "c".into() };
        let (from, lifetime) = (1_000_000u64, 7200);
        let moment = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let validity = Validity { not_before: moment(from), not_after: moment(from + lifetime) };
        let chain = root.sign_for(request.csr_pem(), &identity, validity).expect("signed");
        let leaf = pem::certificates(&chain).expect("a certificate").remove(0);
        let end = from + lifetime;
        for (now, expect) in [
            (from - 1, from - 1),
            (from + 10, from + 10),
            (end, end),
            (end + 1, end),
            (end + lifetime, end),
            (end + lifetime + 1, end + lifetime + 1),
        ] {
            let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            assert_eq!(judged_at(&leaf, at(now)), at(expect), "{now}");
        }
        assert!(SystemTime::now() > moment(end + lifetime) && !is_expired(&leaf));
    }
}

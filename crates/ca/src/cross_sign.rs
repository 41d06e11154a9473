//! Cross-signing: a new root's certificate once more, issued by the old root.
//!
//! It has the new root's subject, key, validity and extensions, so that what the new root signs chains up to either.
//! Mirrors SwarmKit's `CrossSignCACertificate`. The certificate is taken apart and put together again as DER, since it
//! must be the same but for its issuer, whatever is in it.

use rcgen::{Issuer, KeyPair, SigningKey as _};
use rustls_pki_types::CertificateDer;

use crate::CaError;
use crate::pem::der_element;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const EXTENSIONS: u8 = 0xa3;
/// Extension 2.5.29.35: it names the key of the issuer, which is another one here.
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x23];

/// The certificate `root`, issued by `issuer`. `sample` is any certificate that the issuer signed, which tells its name
/// and algorithm.
pub(crate) fn cross_sign(
    root: &CertificateDer<'_>,
    issuer: &Issuer<'static, KeyPair>,
    sample: &CertificateDer<'_>,
) -> Result<CertificateDer<'static>, CaError> {
    let (root, sample) = (parts(root)?, parts(sample)?);
    let mut body = Vec::new();
    for (n, part) in root.iter().enumerate() {
        match (n, part.first()) {
            (ALGORITHM | ISSUER, _) => body.extend_from_slice(sample[n]),
            (_, Some(&EXTENSIONS)) => body.extend(extensions(part)?),
            _ => body.extend_from_slice(part),
        }
    }
    let body = der_element(SEQUENCE, &body);
    let signature = issuer.key().sign(&body).map_err(CaError::Sign)?;
    // No bit of the last octet is unused.
    let signature = der_element(BIT_STRING, &[&[0], &*signature].concat());
    let whole = [&*body, sample[ALGORITHM], &signature].concat();
    Ok(CertificateDer::from(der_element(SEQUENCE, &whole)))
}

/// Where these stand in a certificate's body that begins with its version, as those with extensions do.
const ALGORITHM: usize = 2;
const ISSUER: usize = 3;
const PARTS_MIN: usize = 7;

/// The parts of a certificate's body, each a whole element.
fn parts<'a>(certificate: &'a CertificateDer<'_>) -> Result<Vec<&'a [u8]>, CaError> {
    let whole = content(certificate.as_ref()).ok_or_else(malformed)?;
    let body = elements(whole).and_then(|parts| content(parts.first()?)).ok_or_else(malformed)?;
    let parts = elements(body).ok_or_else(malformed)?;
    if parts.len() < PARTS_MIN || parts[0].first() != Some(&0xa0) {
        return Err(malformed());
    }
    Ok(parts)
}

/// The extensions without the one that names the issuer's key.
fn extensions(tagged: &[u8]) -> Result<Vec<u8>, CaError> {
    let list = content(tagged).and_then(content).and_then(elements).ok_or_else(malformed)?;
    let is_kept = |extension: &&&[u8]| {
        content(extension).is_none_or(|content| !content.starts_with(AUTHORITY_KEY_IDENTIFIER))
    };
    let kept: Vec<u8> = list.iter().filter(is_kept).flat_map(|part| part.iter().copied()).collect();
    Ok(der_element(EXTENSIONS, &der_element(SEQUENCE, &kept)))
}

fn malformed() -> CaError {
    CaError::MalformedCertificate("not a certificate with extensions".to_owned())
}

/// The elements that follow each other in `bytes`.
fn elements(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (header, length) = header(bytes)?;
        let (element, rest) = bytes.split_at_checked(header + length)?;
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

/// What is in an element.
fn content(element: &[u8]) -> Option<&[u8]> {
    let (header, length) = header(element)?;
    element.get(header..header + length)
}

/// The lengths of an element's header and of its content.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [_, short @ 0..=0x7f, ..] => Some((2, usize::from(short))),
        [_, 0x81, length, ..] => Some((3, usize::from(length))),
        [_, 0x82, high, low, ..] => Some((4, usize::from(high) << 8 | usize::from(low))),
        _ => None,
    }
}

//! PEM in and out: certificates and private keys, with the two forms in which Go programs write EC keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::CaError;

const LINE_LENGTH: usize = 64;

/// One block of PEM.
pub(crate) fn encode(label: &str, der: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(LINE_LENGTH) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text.into_bytes()
}

/// Certificates as one bundle, without headers or stray whitespace.
pub(crate) fn encode_certificates(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    certificates.iter().flat_map(|certificate| encode("CERTIFICATE", certificate)).collect()
}

/// All certificates of a bundle, in order; at least one.
pub(crate) fn certificates(bundle: &[u8]) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let found = CertificateDer::pem_slice_iter(bundle)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| CaError::MalformedCertificate(e.to_string()))?;
    if found.is_empty() {
        return Err(CaError::NoRootCertificates);
    }
    Ok(found)
}

/// Parses one certificate.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CaError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|e| CaError::MalformedCertificate(e.to_string()))
}

/// The private key of a PEM text, as PKCS#8.
pub(crate) fn private_key(text: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>, CaError> {
    let bare = without_headers(text);
    match PrivateKeyDer::from_pem_slice(&bare).map_err(|_| CaError::MalformedKey)? {
        PrivateKeyDer::Pkcs8(key) => Ok(key),
        PrivateKeyDer::Sec1(key) => pkcs8_of_sec1(&key),
        _ => Err(CaError::MalformedKey),
    }
}

/// A manager's key file carries headers (RFC 1421), such as SwarmKit's `kek-version`, which the parser doesn't know.
fn without_headers(text: &[u8]) -> Vec<u8> {
    text.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.contains(&b':'))
        .flatten()
        .copied()
        .collect()
}

// AlgorithmIdentifiers of RFC 5480: id-ecPublicKey with the curve as its parameter.
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];
const P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x22,
];

/// Wraps an EC key of RFC 5915, which older SwarmKit roots have, into the PKCS#8 that our libraries read.
fn pkcs8_of_sec1(key: &PrivateSec1KeyDer<'_>) -> Result<PrivatePkcs8KeyDer<'static>, CaError> {
    let sec1 = key.secret_sec1_der();
    // The curve's OID stands inside the key as an explicit parameter; its size tells the two curves apart too.
    let algorithm = match sec1 {
        _ if contains(sec1, &P256[11..]) => P256,
        _ if contains(sec1, &P384[11..]) => P384,
        _ => return Err(CaError::MalformedKey),
    };
    let mut body = vec![0x02, 0x01, 0x00];
    body.extend_from_slice(algorithm);
    body.extend(der_element(0x04, sec1));
    Ok(PrivatePkcs8KeyDer::from(der_element(0x30, &body)))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Tag, length and value; lengths up to 64 KiB, which no key reaches.
pub(crate) fn der_element(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        short @ 0..=0x7f => out.push(short as u8),
        medium @ 0x80..=0xff => out.extend([0x81, medium as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_keys_as_go_writes_them() {
        // Made by `openssl ecparam -name prime256v1 -genkey -noout`.
        let sec1 = include_bytes!("../testdata/ec-sec1.key");
        let key = private_key(sec1).expect("a SEC 1 key is read");
        rcgen::KeyPair::try_from(key.secret_pkcs8_der()).expect("the wrapped key is usable");
        // A stock manager's key, with headers.
        let pkcs8 = private_key(include_bytes!("../testdata/stock-manager.key"))
            .expect("headers are skipped");
        rcgen::KeyPair::try_from(pkcs8.secret_pkcs8_der()).expect("the key is usable");
        assert!(matches!(private_key(b"nothing"), Err(CaError::MalformedKey)));
    }
}

//! What can go wrong with certificates, named after the operation that failed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::rpc_error_text;

/// A failed operation on certificates, keys, tokens or the connections made of them.
#[derive(Debug, Error)]
pub enum CaError {
    /// The text is no join token.
    #[error("invalid join token")]
    InvalidJoinToken,
    /// The bundle holds no certificate at all.
    #[error("no valid root CA certificates found")]
    NoRootCertificates,
    /// A certificate in a bundle cannot be read.
    #[error("invalid certificate: {0}")]
    MalformedCertificate(String),
    /// A root certificate is not self-signed, or not a CA's, or not valid now.
    #[error("error while validating Root CA Certificate: {0}")]
    InvalidRoot(String),
    /// A private key cannot be read, or is of a kind that we cannot use.
    #[error("malformed private key")]
    MalformedKey,
    /// The text is no unlock key.
    #[error("invalid key string")]
    MalformedUnlockKey,
    /// The key file is locked, and no unlock key is known.
    #[error("the node's key is locked")]
    Locked,
    /// The key file is locked with another unlock key.
    #[error("invalid key provided")]
    InvalidUnlockKey,
    /// The Raft log could not be sealed with another key.
    #[error("the Raft log is still sealed with its old key")]
    Unsealed,
    /// The key does not belong to the certificate.
    #[error("certificate key mismatch")]
    KeyMismatch,
    /// This root has no key here, so it cannot sign.
    #[error("no valid signer found")]
    NoSigner,
    /// A signing request cannot be read or its own signature is wrong.
    #[error("failed to sign node certificate: {0}")]
    InvalidSigningRequest(String),
    /// Making or signing a certificate failed.
    #[error("failed to sign node certificate")]
    Sign(#[source] rcgen::Error),
    /// The certificate does not chain up to the root, or is not valid now.
    #[error("certificate does not validate: {0}")]
    Untrusted(String),
    /// The certificate's subject lacks node ID, role or organization.
    #[error("{0}")]
    InvalidSubject(&'static str),
    /// rustls refused a configuration.
    #[error("cannot use these certificates for TLS")]
    Tls(#[source] rustls::Error),
    /// A new root does not fit the node's certificate.
    #[error("new root CA does not match existing TLS credentials: {0}")]
    RootDoesNotMatch(String),
    /// The root that the remote side sent is not the one that the token names.
    #[error("remote CA does not match fingerprint. Expected: {expected}")]
    FingerprintMismatch {
        /// The token's digest in hexadecimal.
        expected: String,
    },
    /// There is no root certificate on disk: this node is in no swarm.
    #[error("local root CA certificate does not exist")]
    NoLocalRoot,
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The address is not one that can be dialled.
    #[error("invalid address {0:?}")]
    InvalidAddress(String),
    /// The remote side refused or could not be reached.
    #[error("{}", rpc_error_text(.0))]
    Remote(#[source] Box<tonic::Status>),
    /// An external CA could not be asked; it may be another time.
    #[error("external CA: {0}")]
    ExternalUnreachable(String),
    /// An external CA will not sign this.
    #[error("external CA: {0}")]
    ExternalRefused(String),
    /// The remote side failed to issue the certificate.
    #[error("certificate was not issued: {0}")]
    NotIssued(String),
    /// No manager is known to ask.
    #[error("no manager to ask for a certificate")]
    NoManager,
}

impl From<tonic::Status> for CaError {
    fn from(status: tonic::Status) -> Self {
        CaError::Remote(Box::new(status))
    }
}

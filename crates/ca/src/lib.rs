//! The certificate authority of a swarm and everything that speaks mutual TLS with its certificates.
//!
//! Mirrors SwarmKit's package `ca`: a root ([`RootCa`]), join tokens ([`JoinToken`]), node certificates and who they
//! name ([`Identity`]), the files they live in ([`CertificateFiles`]), the TLS configurations made of them
//! ([`TlsMaterials`]), gRPC over these ([`serve`], [`connect`]), who may call what ([`Authorizer`]), and how a node gets
//! and renews its certificate ([`request_certificate`], [`Renewer`]).
//!
//! What lies on a manager's disk is sealed by a [`Cipher`] with keys ([`RaftKeys`]) that its key file holds, which an
//! [`UnlockKey`] may lock.
//!
//! Deliberately not here: the CA service itself, which writes the store (swarm-manager, `node_ca`).

mod any_certificate;
mod authorize;
mod chain;
mod cipher;
mod client;
mod connect;
mod cross_sign;
mod error;
mod external;
mod files;
mod grace;
mod identity;
mod key_file;
mod materials;
mod number;
mod pem;
mod renew;
mod request;
mod root;
mod serve;
mod signer;
mod strangers;
mod tls;
mod token;
mod unlock_key;

pub use any_certificate::AnyCertificate;
pub use authorize::{Authorizer, ForwardedCaller, rpc_error_text};
pub use chain::{NodeCertificate, certificate_expiry};
pub use cipher::{Cipher, SEALED_FORM, SecretKey};
pub use client::{
    CertificateRequest, IssuedCertificate, cluster_lock, download_root_ca, request_certificate,
};
pub use connect::{Credentials, connect, connect_express, local_as, local_from, manager_at};
pub use error::CaError;
pub use external::{ExternalCa, is_external_url};
pub use files::CertificateFiles;
pub use identity::{Identity, PeerIdentity, Role};
pub use key_file::RaftKeys;
pub use materials::{Changes, TlsMaterials};
pub use renew::{RenewalClock, Renewer};
pub use request::SigningRequest;
pub use root::{Issuer, RootCa, RootDigest, normalize_pem};
pub use serve::{ServeError, serve};
pub use signer::{DEFAULT_NODE_CERTIFICATE_EXPIRY, MIN_NODE_CERTIFICATE_EXPIRY, Validity};
pub use token::JoinToken;
pub use unlock_key::{Lock, UnlockKey};

pub use authorize::require;

//! Registries: pulling images and asking about them, over the OCI distribution protocol.
//!
//! [`RegistryClient`] is the door. `endpoint` decides where to ask (mirrors, plain HTTP where it is allowed),
//! `session` talks to one place about one repository, `manifest` reads what comes back, `pull` brings an image into
//! the store, `inspect` only describes it, `failure` words errors as dockerd does. Pushing is not here.

mod auth;
mod download;
mod endpoint;
mod failure;
mod inspect;
mod manifest;
mod pull;
mod session;

pub use auth::parse_auth;
pub use endpoint::RegistryConfig;
pub use oci_client::secrets::RegistryAuth;
pub use pull::PullRequest;

use crate::image::ImageStore;

/// Fetches images for a store.
#[derive(Clone)]
pub struct RegistryClient {
    images: ImageStore,
    config: RegistryConfig,
}

impl RegistryClient {
    /// A client that pulls into `images`.
    pub fn new(images: ImageStore, config: RegistryConfig) -> Self {
        Self { images, config }
    }
}

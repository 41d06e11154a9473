//! A session: one endpoint, asked about one repository with one set of credentials.
//!
//! The protocol itself is `oci-client`'s; here are the trust and the timeouts that it works with.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use oci_client::client::{
    Certificate, CertificateEncoding, ClientConfig, ClientProtocol, SizedStream,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference as OciReference, RegistryOperation};

use super::endpoint::{Endpoint, RegistryConfig};
use super::failure::{Failure, Login};
use super::manifest::{self, ACCEPTED, Descriptor, Manifest};
use crate::error::{Error, Result, io};
use crate::image::{Digest, Reference};

/// A registry that does not accept a connection in this time is taken as absent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One that stops sending for this long is taken as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Configs are read into memory; a real one has some kilobytes.
const CONFIG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Where Docker users keep certificates of their registries.
const CERTIFICATES: &str = "/etc/docker/certs.d";

/// See the module.
#[derive(Clone)]
pub(super) struct Session {
    client: Client,
    endpoint: Endpoint,
    reference: Reference,
    login: Login,
}

/// A manifest with the name that its content has.
pub(super) struct Fetched {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
    pub(super) manifest: Manifest,
}

/// Asks the endpoints in turn; returns the first session that works, with the manifest it got.
pub(super) async fn open(
    config: &RegistryConfig,
    reference: &Reference,
    auth: &RegistryAuth,
) -> Result<(Session, Fetched)> {
    let (config, owned) = (config.clone(), reference.clone());
    let endpoints = tokio::task::spawn_blocking(move || config.endpoints(&owned))
        .await
        .map_err(|e| Error::system("registry look-up was interrupted").with_source(e))?;
    let mut failed: Option<Failure> = None;
    let mut given_up: Option<String> = None;
    for endpoint in endpoints {
        if given_up.as_ref() == Some(&endpoint.host) {
            continue;
        }
        let (host, mirror) = (endpoint.host.clone(), endpoint.mirror);
        match attempt(endpoint, reference, auth).await {
            Ok(opened) => return Ok(opened),
            Err(failure) => {
                tracing::debug!(host, error = %failure.error, "registry endpoint failed");
                if failure.timed_out || !failure.unreachable {
                    given_up = Some(host);
                }
                let last = !mirror && !failure.unreachable;
                failed = Some(failure);
                if last {
                    break;
                }
            }
        }
    }
    Err(failed.map_or_else(|| Error::system("no registry to ask"), |failure| failure.error))
}

async fn attempt(
    endpoint: Endpoint,
    reference: &Reference,
    auth: &RegistryAuth,
) -> std::result::Result<(Session, Fetched), Failure> {
    // A mirror is another party: the credentials are for the registry that it copies.
    let auth = if endpoint.mirror { &RegistryAuth::Anonymous } else { auth };
    let client = client(&endpoint).map_err(Failure::answer)?;
    let mut session =
        Session { client, endpoint, reference: reference.clone(), login: Login::None };
    let token = session.client.auth(&session.oci(None), auth, RegistryOperation::Pull).await;
    session.login = match (token.map_err(|e| session.failure(e))?, auth) {
        (Some(_), _) => Login::Token,
        (None, RegistryAuth::Basic(..)) => Login::Basic,
        (None, _) => Login::None,
    };
    let fetched = session.manifest(None).await?;
    Ok((session, fetched))
}

impl Session {
    /// Gets the reference's manifest, or the one of a digest.
    pub(super) async fn manifest(
        &self,
        digest: Option<&Digest>,
    ) -> std::result::Result<Fetched, Failure> {
        let name = self.oci(digest);
        let pulled =
            self.client.pull_manifest_raw(&name, &RegistryAuth::Anonymous, &ACCEPTED).await;
        let (bytes, _) = pulled.map_err(|e| self.failure(e))?;
        let got = Digest::of(&bytes);
        if let Some(wanted) = digest.or(self.reference.digest()).filter(|wanted| **wanted != got) {
            let message = format!("manifest verification failed for digest {wanted}");
            return Err(Failure::answer(Error::system(message)));
        }
        let (media_type, manifest) = manifest::parse(&bytes).map_err(Failure::answer)?;
        Ok(Fetched { digest: got, size: bytes.len() as u64, media_type, manifest })
    }

    /// Opens a blob's stream, whose end is an error if the content is not what the digest says.
    pub(super) async fn blob(&self, digest: &Digest) -> std::result::Result<SizedStream, Failure> {
        let stream = self.client.pull_blob_stream(&self.oci(None), digest.as_str()).await;
        stream.map_err(|e| self.failure(e))
    }

    /// Reads an image's config.
    pub(super) async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let mut stream = self.blob(&descriptor.digest).await.map_err(|failure| failure.error)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.try_next().await.map_err(io("read image config"))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > CONFIG_BYTES_MAX {
                return Err(Error::system(format!(
                    "image config {} is too big",
                    descriptor.digest
                )));
            }
        }
        match Digest::of(&bytes) == descriptor.digest {
            true => Ok(bytes),
            false => Err(Error::system(
                "image config verification failed for digest ".to_owned()
                    + descriptor.digest.as_str(),
            )),
        }
    }

    fn oci(&self, digest: Option<&Digest>) -> OciReference {
        let (host, path) = (self.endpoint.host.clone(), self.reference.path().to_owned());
        match (digest.or(self.reference.digest()), self.reference.tag()) {
            (Some(digest), _) => OciReference::with_digest(host, path, digest.to_string()),
            (None, tag) => OciReference::with_tag(host, path, tag.unwrap_or("latest").to_owned()),
        }
    }

    fn failure(&self, cause: oci_client::errors::OciDistributionError) -> Failure {
        Failure::new(cause, &self.reference, &self.endpoint, self.login)
    }
}

fn client(endpoint: &Endpoint) -> Result<Client> {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ClientConfig {
        protocol: if endpoint.tls { ClientProtocol::Https } else { ClientProtocol::Http },
        accept_invalid_certificates: !endpoint.verify || !endpoint.tls,
        extra_root_certificates: certificates(&Path::new(CERTIFICATES).join(&endpoint.host)),
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("swarm/", env!("CARGO_PKG_VERSION")),
        https_proxy: proxy("https_proxy"),
        http_proxy: proxy("http_proxy"),
        no_proxy: proxy("no_proxy"),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|e| {
        Error::system(format!("prepare for registry {}: {e}", endpoint.host)).with_source(e)
    })
}

/// A proxy variable in either case, as curl and Go read them.
fn proxy(name: &str) -> Option<String> {
    let value = std::env::var(name).or_else(|_| std::env::var(name.to_uppercase()));
    value.ok().filter(|value| !value.is_empty())
}

/// The certificates that an administrator put there for a registry.
fn certificates(folder: &Path) -> Vec<Certificate> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let certificates =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
    certificates
        .filter_map(|path| std::fs::read(path).ok())
        .map(|data| Certificate { encoding: CertificateEncoding::Pem, data })
        .collect()
}

//! How a node gets its certificate: fetch the root, compare it with the token, ask, and wait until it is issued.
//!
//! Mirrors SwarmKit's `GetRemoteCA` and `GetRemoteSignedCertificate`. The token is sent only over a connection to
//! someone whom the root, checked by its digest, certifies.

use std::time::Duration;

use swarm_proto::Channel;
use swarm_proto::v1::ca_client::CaClient;
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::node_ca_client::NodeCaClient;
use swarm_proto::v1::{
    Certificate, GetRootCaCertificateRequest, GetUnlockKeyRequest, GetUnlockKeyResponse,
    IssueNodeCertificateRequest, NodeCertificateStatusRequest, NodeCertificateStatusResponse,
};
use tonic::{Code, Status};
use tracing::debug;

use crate::{
    CaError, CertificateFiles, Credentials, Lock, NodeCertificate, Role, RootCa, RootDigest,
    SecretKey, SigningRequest, TlsMaterials, UnlockKey, connect,
};

/// Each call gets this long, as in SwarmKit.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at a certificate that isn't issued yet; doubles up to the maximum.
const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(30);
/// Calls that fail in a row, on a channel that reconnects, before the manager is given up.
const FAILURES_MAX: u32 = 5;

/// Fetches the root certificates from a manager, and checks that they are those that the token names.
pub async fn download_root_ca(addr: &str, digest: RootDigest) -> Result<RootCa, CaError> {
    let root = fetch_root(connect(addr, Credentials::Unverified)?).await?;
    if root.digest() != digest {
        return Err(CaError::FingerprintMismatch { expected: digest.to_hex() });
    }
    Ok(root)
}

/// Fetches the root certificates as they are now. Whom to believe is the channel's business.
pub(crate) async fn fetch_root(channel: Channel) -> Result<RootCa, CaError> {
    let answer =
        within(CaClient::new(channel).get_root_ca_certificate(GetRootCaCertificateRequest {}))
            .await?;
    RootCa::from_pem(&answer.into_inner().certificate)
}

/// What a node asks for besides a signature. A renewal asks for nothing: the channel's certificate says who it is.
#[derive(Clone, Default)]
pub struct CertificateRequest {
    /// The join token; empty for a renewal.
    pub token: String,
    /// The availability (`swarm_proto::v1::node_spec::Availability`) that a new node begins with.
    pub availability: i32,
}

/// A certificate that a manager issued, checked, with its key, both also in PEM for the disk.
pub struct IssuedCertificate {
    /// The certificate, ready for use.
    pub certificate: NodeCertificate,
    /// The certificate and its intermediates.
    pub chain_pem: Vec<u8>,
    /// The private key.
    pub key_pem: Vec<u8>,
}

impl IssuedCertificate {
    /// Keeps certificate and key on disk, the key locked as given; a worker has no lock.
    pub fn save(&self, files: &CertificateFiles, lock: Lock) -> Result<(), CaError> {
        let lock = match self.certificate.identity().role {
            Role::Manager => lock,
            Role::Worker => Lock::default(),
        };
        files.save_node_locked(&self.chain_pem, &self.key_pem, lock)
    }

    /// What a connection with this certificate is made with.
    pub fn materials(&self, root: &RootCa) -> Result<TlsMaterials, CaError> {
        let node = NodeCertificate::from_pem(&self.chain_pem, &self.key_pem, root)?;
        TlsMaterials::new(root.clone(), node)
    }
}

/// Asks a manager, as a manager, for the lock that managers of the cluster have. A key must never lie open on the disk
/// of one that is to be locked, so it is asked for before the first certificate of a manager is kept.
pub async fn cluster_lock(channel: Channel) -> Result<Lock, CaError> {
    let mut client = CaClient::new(channel);
    let mut attempts = 0;
    loop {
        attempts += 1;
        match within(client.get_unlock_key(GetUnlockKeyRequest {})).await {
            Ok(answer) => {
                let GetUnlockKeyResponse { unlock_key, version } = answer.into_inner();
                let key = match unlock_key.as_slice() {
                    [] => None,
                    key => Some(SecretKey::from_slice(key).ok_or(CaError::MalformedUnlockKey)?),
                };
                let version = version.map_or(0, |version| version.index);
                return Ok(Lock { key: key.map(UnlockKey), version });
            }
            Err(status) if attempts == FAILURES_MAX => return Err(status.into()),
            // The leader may just change.
            Err(_) => tokio::time::sleep(POLL_FIRST * attempts).await,
        }
    }
}

/// Makes a key, has it certified by the manager at the other end of the channel, and checks what comes back.
///
/// Waits as long as the certificate is pending; drop the future to give up.
pub async fn request_certificate(
    channel: Channel,
    root: &RootCa,
    request: &CertificateRequest,
) -> Result<IssuedCertificate, CaError> {
    let signing = SigningRequest::generate()?;
    let mut client = NodeCaClient::new(channel);
    let issue = IssueNodeCertificateRequest {
        csr: signing.csr_pem().to_vec(),
        token: request.token.clone(),
        availability: request.availability,
        ..Default::default()
    };
    let node_id = within(client.issue_node_certificate(issue)).await?.into_inner().node_id;
    debug!(node.id = node_id, "certificate requested");
    let chain_pem = wait_until_issued(&mut client, node_id, signing.csr_pem()).await?;
    let certificate = NodeCertificate::from_pem(&chain_pem, signing.key_pem(), root)?;
    Ok(IssuedCertificate { certificate, chain_pem, key_pem: signing.key_pem().to_vec() })
}

async fn wait_until_issued(
    client: &mut NodeCaClient<Channel>,
    node_id: String,
    csr: &[u8],
) -> Result<Vec<u8>, CaError> {
    let (mut pause, mut failures) = (POLL_FIRST, 0);
    loop {
        let request = NodeCertificateStatusRequest { node_id: node_id.clone() };
        match within(client.node_certificate_status(request)).await {
            Ok(answer) => match judge(answer.into_inner(), csr) {
                Verdict::Issued(chain) => return Ok(chain),
                Verdict::Failed(why) => return Err(CaError::NotIssued(why)),
                Verdict::Wait => failures = 0,
            },
            Err(status) if status.code() == Code::DeadlineExceeded => {}
            Err(status) => {
                failures += 1;
                if failures == FAILURES_MAX {
                    return Err(status.into());
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL_MAX);
    }
}

enum Verdict {
    Issued(Vec<u8>),
    Failed(String),
    Wait,
}

/// Only an answer to our own request counts: there may still be one to an earlier request of this node.
fn judge(answer: NodeCertificateStatusResponse, csr: &[u8]) -> Verdict {
    let Some(Certificate { csr: answered, certificate, .. }) = answer.certificate else {
        return Verdict::Wait;
    };
    let status = answer.status.unwrap_or_default();
    match State::try_from(status.state) {
        _ if answered != csr => Verdict::Wait,
        Ok(State::Issued | State::Rotate) => Verdict::Issued(certificate),
        Ok(State::Failed) => Verdict::Failed(status.err),
        _ => Verdict::Wait,
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Err(Status::deadline_exceeded("context deadline exceeded"));
    tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late)
}

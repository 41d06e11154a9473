//! A worker whose managers are gone for good, and who is shown where the swarm is now: `docker swarm join` on it.
//!
//! After `--force-new-cluster` or a restore on another address nobody tells the workers, as they dial and are not
//! dialled. Docker refuses to join a node that is a member, so its containers would have to go first. Here the token of
//! its own swarm, and the address of a manager that shows a certificate of it, only replace the managers that it knows.

use std::time::Duration;

use futures::future::join_all;
use swarm_ca::{Credentials, JoinToken, Role, TlsMaterials, rpc_error_text};
use swarm_proto::v1::GetRootCaCertificateRequest;
use swarm_proto::v1::ca_client::CaClient;
use tracing::info;

use crate::error::NodeError;
use crate::membership::Membership;

/// A manager in reach answers in less.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// A worker that may be shown another manager; taken from its membership so that nothing is held while others are asked.
pub(crate) struct Reattachment {
    materials: TlsMaterials,
    known: Vec<String>,
}

impl Reattachment {
    /// None where a join is refused as ever: on a manager, and with the token of another swarm.
    pub(crate) fn of(membership: &Membership, token: &JoinToken) -> Option<Self> {
        let materials = membership.materials();
        let is_own = materials.root().digest() == token.digest();
        let is_worker = materials.identity().role == Role::Worker;
        let known = membership.known_managers().into_iter().map(|(_, address)| address);
        (is_own && is_worker).then(|| Self { known: known.collect(), materials })
    }

    /// The first of these addresses where a manager of this node's own swarm answers.
    ///
    /// # Errors
    /// [`NodeError::already_in_swarm`] while a manager that it knows answers, else why none of these will do.
    pub(crate) async fn find(&self, remotes: &[String]) -> Result<String, NodeError> {
        let asked = self.known.iter().map(|address| self.ask(address));
        if join_all(asked).await.iter().any(Result::is_ok) {
            return Err(NodeError::already_in_swarm());
        }
        let mut failed = NodeError::already_in_swarm();
        for address in remotes {
            match self.ask(address).await {
                Ok(()) => {
                    info!(manager.addr = address, "this worker was shown another manager");
                    return Ok(address.clone());
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Whether a manager answers that shows a certificate of this node's swarm.
    async fn ask(&self, address: &str) -> Result<(), NodeError> {
        let refused = |why: &str| {
            NodeError::unavailable(format!(
                "{address} is not a manager of this node's swarm: {why}"
            ))
        };
        let channel = swarm_ca::connect(address, Credentials::Member(self.materials.clone()))
            .map_err(|error| refused(&error.to_string()))?;
        let mut client = CaClient::new(channel);
        let answer = client.get_root_ca_certificate(GetRootCaCertificateRequest {});
        match tokio::time::timeout(PROBE_MAX, answer).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(refused(&rpc_error_text(&status))),
            Err(_) => Err(refused("it does not answer")),
        }
    }
}

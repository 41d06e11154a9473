//! `docker swarm unlock` and `unlock-key`.
//!
//! Mirrors moby's `Cluster.UnlockSwarm` and `GetUnlockKey`.

use swarm_ca::{CaError, SecretKey, UnlockKey, rpc_error_text};
use swarm_proto::v1::GetUnlockKeyRequest;
use swarm_proto::v1::ca_client::CaClient;
use tracing::info;

use crate::error::NodeError;
use crate::membership::Membership;
use crate::node::Node;
use crate::post::Beginning;

impl Node {
    /// Unlocks a manager that waits for its key, and starts its membership.
    ///
    /// # Errors
    /// Docker's refusals; the manager stays locked then.
    pub async fn unlock(&self, key: &str) -> Result<(), NodeError> {
        let _changing = self.shared.changing.lock().await;
        let Some(saved) = self.current().locked.clone() else {
            return Err(self.control().err().unwrap_or_else(NodeError::not_locked));
        };
        let key: UnlockKey =
            key.trim().parse().map_err(|error: CaError| NodeError::invalid(error.to_string()))?;
        let files = self.files();
        files.unlock(&key).map_err(|error| match error {
            CaError::InvalidUnlockKey => NodeError::wrong_key(),
            other => NodeError::system(other.to_string()),
        })?;
        self.start(saved, files, Beginning::GoOn).await.map_err(|error| {
            NodeError::system(format!("swarm component could not be started: {error}"))
        })?;
        info!("this manager was unlocked");
        Ok(())
    }

    /// The key that unlocks managers as a person keeps it; empty where they are not locked.
    ///
    /// # Errors
    /// Docker's refusals where this node is no manager, and the leader's.
    pub async fn unlock_key(&self) -> Result<String, NodeError> {
        let own = self.current().membership.as_ref().and_then(Membership::unlock_key);
        let asked = CaClient::new(self.control()?).get_unlock_key(GetUnlockKeyRequest {}).await;
        let key = match (asked, own) {
            (Ok(answer), _) => {
                SecretKey::from_slice(&answer.into_inner().unlock_key).map(UnlockKey)
            }
            // Nobody leads, perhaps because the others are locked: it is with this key that they were.
            (Err(_), Some(own)) => Some(own),
            (Err(status), None) => return Err(NodeError::unavailable(rpc_error_text(&status))),
        };
        Ok(key.map(|key| key.to_string()).unwrap_or_default())
    }
}

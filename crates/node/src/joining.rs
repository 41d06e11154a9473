//! `docker swarm join`: a member of a cluster that is there; or, for a worker whose managers are all gone, of the same
//! cluster through another manager.
//!
//! Mirrors moby's `Cluster.Join`.

use std::time::Duration;

use swarm_ca::{
    CertificateRequest, Credentials, JoinToken, Lock, Role, cluster_lock, download_root_ca,
    request_certificate,
};

use crate::addresses::{MANAGER_PORT, split};
use crate::error::NodeError;
use crate::moving;
use crate::node::Node;
use crate::options::JoinOptions;
use crate::post::Beginning;
use crate::reattach::Reattachment;
use crate::state::SavedMembership;

/// How long a join may take before the answer says that it goes on in the background; moby's `swarmConnectTimeout`.
const JOIN_ANSWER_MAX: Duration = Duration::from_secs(20);

impl Node {
    /// Joins a cluster. The token's digest of the root CA is verified before its secret leaves this node.
    ///
    /// # Errors
    /// Docker's refusals; nothing is kept then, but where a manager is slow the join goes on in the background.
    pub async fn join(&self, options: JoinOptions) -> Result<(), NodeError> {
        let changing = self.shared.changing.lock().await;
        if options.remote_addrs.iter().all(String::is_empty) {
            self.refuse_member()?;
            return Err(NodeError::invalid("at least 1 remote address is required to join"));
        }
        let token = JoinToken::parse(&options.join_token);
        if let Ok(token) = &token
            && let Some(reattachment) = self.reattachment(token)
        {
            return self.reattach(&reattachment, &options.remote_addrs).await;
        }
        self.refuse_member()?;
        let token = token.map_err(|_| NodeError::invalid("invalid join token"))?;
        let saved =
            moving::membership_at(&self.shared.config.resolve(&options.addresses(), false).await?);
        drop(changing);
        let node = self.clone();
        // Once begun, a join goes on though its caller leaves.
        let joining = tokio::spawn(async move { node.join_now(options, token, saved).await });
        match tokio::time::timeout(JOIN_ANSWER_MAX, joining).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(NodeError::system("joining was interrupted")),
            Err(_) => Err(NodeError::join_timeout()),
        }
    }

    fn reattachment(&self, token: &JoinToken) -> Option<Reattachment> {
        Reattachment::of(self.current().membership.as_ref()?, token)
    }

    /// Shows a worker whose managers are gone another one; the caller holds `changing`.
    async fn reattach(
        &self,
        reattachment: &Reattachment,
        remotes: &[String],
    ) -> Result<(), NodeError> {
        let remotes: Vec<String> = remotes.iter().filter_map(|address| dialled(address)).collect();
        let address = reattachment.find(&remotes).await?;
        match &self.current().membership {
            Some(membership) => {
                membership.reattach(&address).map_err(|error| NodeError::system(error.to_string()))
            }
            None => Err(NodeError::no_swarm()),
        }
    }

    async fn join_now(
        &self,
        options: JoinOptions,
        token: JoinToken,
        saved: SavedMembership,
    ) -> Result<(), NodeError> {
        let _changing = self.shared.changing.lock().await;
        self.refuse_member()?;
        self.current().pending = true;
        let joined = self.join_through_any(&options, &token, saved).await;
        self.current().pending = false;
        if joined.is_err() {
            self.clear();
        }
        joined
    }

    async fn join_through_any(
        &self,
        options: &JoinOptions,
        token: &JoinToken,
        saved: SavedMembership,
    ) -> Result<(), NodeError> {
        let mut failed = NodeError::invalid("at least 1 remote address is required to join");
        for address in options.remote_addrs.iter().filter(|address| !address.is_empty()) {
            let Some(address) = dialled(address) else {
                failed = NodeError::invalid(format!("invalid remote address {address}"));
                continue;
            };
            match self.join_through(&address, options, token, saved.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn join_through(
        &self,
        address: &str,
        options: &JoinOptions,
        token: &JoinToken,
        mut saved: SavedMembership,
    ) -> Result<(), NodeError> {
        let refused = |error: swarm_ca::CaError| NodeError::unavailable(error.to_string());
        let root = download_root_ca(address, token.digest()).await.map_err(refused)?;
        let channel =
            swarm_ca::connect(address, Credentials::Joining(root.clone())).map_err(refused)?;
        let request = CertificateRequest {
            token: options.join_token.clone(),
            availability: options.availability.into(),
        };
        let issued = request_certificate(channel, &root, &request).await.map_err(refused)?;
        let lock = match issued.certificate.identity().role {
            Role::Worker => Lock::default(),
            Role::Manager => {
                let credentials = Credentials::Member(issued.materials(&root).map_err(refused)?);
                let channel = swarm_ca::connect(address, credentials).map_err(refused)?;
                cluster_lock(channel).await.map_err(refused)?
            }
        };
        let files = self.files();
        let system = |error: swarm_ca::CaError| NodeError::system(error.to_string());
        files.save_root(&root).map_err(system)?;
        issued.save(&files, lock).map_err(system)?;
        saved.managers = vec![(String::new(), address.to_owned())];
        self.start(saved, files, Beginning::GoOn).await?;
        self.registered().await;
        Ok(())
    }
}

/// What to dial for a remote address as users write it.
fn dialled(address: &str) -> Option<String> {
    let (host, port) = split(address, MANAGER_PORT)?;
    match host.contains(':') {
        true => Some(format!("[{host}]:{port}")),
        false => Some(format!("{host}:{port}")),
    }
}

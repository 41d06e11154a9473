//! New clusters of what another one left: `docker swarm init --force-new-cluster` of a node's own state, `swarm restore`
//! of a backup, which `swarm backup` makes.
//!
//! Mirrors the forced half of moby's `Cluster.Init`. Beyond it, addresses that the user does not name stay as they were
//! where this machine still has them.

use std::net::{IpAddr, SocketAddr};

use swarm_ca::{CertificateFiles, Identity, Role};
use swarm_manager::{Backup, Revival};
use swarm_network::addresses::host_addresses;
use tracing::{info, warn};

use crate::addresses::{Addresses, MANAGER_PORT};
use crate::error::NodeError;
use crate::membership::Membership;
use crate::moving;
use crate::node::Node;
use crate::options::{GivenAddresses, InitOptions, NodeConfig, RestoreOptions};
use crate::post::Beginning;
use crate::state::SavedMembership;

impl Node {
    /// Goes on as the only manager of a new cluster with the data of the old one; the caller holds `changing`.
    pub(crate) async fn force_new_cluster(
        &self,
        options: &InitOptions,
    ) -> Result<String, NodeError> {
        let folder = &self.shared.folder;
        let before = folder.load().map_err(|error| NodeError::system(error.to_string()))?;
        let before = before.ok_or_else(NodeError::nothing_to_force)?;
        if self.current().locked.is_some() {
            return Err(NodeError::locked());
        }
        // With what opens its disk, where it is locked.
        let files = self.current().membership.as_ref().map(Membership::files);
        let files = files.unwrap_or_else(|| self.files());
        let identity = manager_identity(&files)?;
        let addresses = addresses(options, &before, &self.shared.config).await?;
        let membership = self.current().membership.take();
        if let Some(membership) = membership {
            membership.stop().await;
        }
        let forced = forced(&identity.node_id, &addresses);
        if let Err(error) = self.start(forced, files.clone(), Beginning::GoOn).await {
            warn!(%error, "no new cluster was made; this node goes on as before");
            if let Err(error) = self.start(before, files, Beginning::GoOn).await {
                self.current().error = error.to_string();
            }
            return Err(error);
        }
        self.await_first_session().await;
        info!(node.id = identity.node_id, "a new cluster was made of this manager's data");
        Ok(identity.node_id)
    }

    /// The state of this manager's cluster as a file, encrypted with this key, or else with the unlock key where managers
    /// are locked.
    ///
    /// # Errors
    /// Where this node is no manager, nobody leads, or a backup would not be enough for a new cluster.
    pub async fn backup(&self, key: Option<String>) -> Result<Vec<u8>, NodeError> {
        self.control()?;
        let post = self.current().membership.as_ref().map(Membership::post);
        let source = match post {
            Some(post) => post.backups().await,
            None => None,
        };
        let source = source.ok_or_else(NodeError::worker)?;
        let (_, file) =
            source.file(key).await.map_err(|error| NodeError::unavailable(error.to_string()))?;
        Ok(file)
    }

    /// Makes this node the only manager of a new cluster with the state in a backup; answers the node's ID.
    ///
    /// # Errors
    /// Where this node is a member, or the backup or its key is wrong; nothing is kept then.
    pub async fn restore(&self, options: RestoreOptions) -> Result<String, NodeError> {
        let _changing = self.shared.changing.lock().await;
        self.refuse_member()?;
        let addresses = self.shared.config.resolve(&options.addresses(), true).await?;
        let revival = revival(options.file, options.key).await?;
        let node_id = revival.identity.node_id.clone();
        let mut forced = forced(&node_id, &addresses);
        forced.raft_id = revival.raft_id;
        let issued = revival.root_ca.issue(&revival.identity);
        let issued = issued.map_err(|error| NodeError::system(error.to_string()))?;
        let beginning = Beginning::Revive(revival.seed);
        self.establish(forced, revival.lock, &revival.root_ca, issued, beginning).await?;
        info!(node.id = node_id, "a new cluster was made of a backup");
        Ok(node_id)
    }
}

/// Who this node is by its certificate, if that is a manager's.
fn manager_identity(files: &CertificateFiles) -> Result<Identity, NodeError> {
    let materials = files.load().map_err(|error| {
        NodeError::system(format!("this node's certificate cannot be used: {error}"))
    })?;
    match materials.identity() {
        identity if identity.role == Role::Manager => Ok(identity),
        _ => Err(NodeError::worker()),
    }
}

/// The addresses of the new cluster's manager.
async fn addresses(
    options: &InitOptions,
    before: &SavedMembership,
    config: &NodeConfig,
) -> Result<Addresses, NodeError> {
    let host = host_addresses().map_err(|error| NodeError::system(error.to_string()))?;
    let is_local = |ip: IpAddr| host.iter().any(|address| address.address.addr() == ip);
    let given = kept(options, before, is_local);
    let given = GivenAddresses {
        listen: &given.listen_addr,
        advertise: &given.advertise_addr,
        data_path: &given.data_path_addr,
    };
    config.resolve(&given, true).await
}

/// The membership that is kept while the new cluster is made.
fn forced(node_id: &str, addresses: &Addresses) -> SavedMembership {
    let mut forced = moving::membership_at(addresses);
    forced.managers = vec![(node_id.to_owned(), forced.advertise_addr.clone())];
    forced.force_new_cluster = true;
    forced
}

/// What a new manager is made of, out of a backup's bytes; nothing is written.
async fn revival(file: Vec<u8>, key: Option<String>) -> Result<Revival, NodeError> {
    // Deriving a key takes its time on purpose, and a large state is no less work.
    let prepared = tokio::task::spawn_blocking(move || {
        let backup = Backup::from_file(&file, key.as_deref())?;
        Revival::prepare(&backup)
    });
    let prepared = prepared.await.map_err(|_| NodeError::system("restoring was interrupted"))?;
    prepared.map_err(|error| NodeError::invalid(error.to_string()))
}

/// What the user gave, completed by what was; the CLI gives the default where its user gives no address to listen on.
fn kept(
    options: &InitOptions,
    before: &SavedMembership,
    is_local: impl Fn(IpAddr) -> bool,
) -> SavedMembership {
    let default_listen = format!("0.0.0.0:{MANAGER_PORT}");
    let is_default = |listen: &str| listen.is_empty() || listen == default_listen;
    let can_listen = |addr: &SocketAddr| addr.ip().is_unspecified() || is_local(addr.ip());
    let listen = match before.listen_addr.parse() {
        Ok(addr) if is_default(&options.listen_addr) && can_listen(&addr) => {
            before.listen_addr.clone()
        }
        _ => options.listen_addr.clone(),
    };
    let advertise = match before.advertise_addr.parse() {
        Ok(addr)
            if options.advertise_addr.is_empty()
                && is_default(&options.listen_addr)
                && is_local(SocketAddr::ip(&addr)) =>
        {
            before.advertise_addr.clone()
        }
        _ => options.advertise_addr.clone(),
    };
    let data_path = match before.data_path_addr.parse() {
        Ok(ip) if options.data_path_addr.is_empty() && is_local(ip) => {
            before.data_path_addr.clone()
        }
        _ => options.data_path_addr.clone(),
    };
    SavedMembership::new(listen, advertise, data_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_where_the_machine_has_them_and_the_user_names_none() {
        let here: IpAddr = "10.0.0.1".parse().expect("an address");
        for (before, given, expect) in [
            // Listening, advertised, data path.
            (
                ["0.0.0.0:2377", "10.0.0.1:2377", ""],
                ["0.0.0.0:2377", "", ""],
                ["0.0.0.0:2377", "10.0.0.1:2377", ""],
            ),
            (
                ["10.0.0.1:2400", "10.0.0.1:2400", "10.0.0.1"],
                ["", "", ""],
                ["10.0.0.1:2400", "10.0.0.1:2400", "10.0.0.1"],
            ),
            // Moved to another machine.
            (
                ["10.0.0.9:2400", "10.0.0.9:2400", "10.0.0.9"],
                ["0.0.0.0:2377", "", ""],
                ["0.0.0.0:2377", "", ""],
            ),
            // What the user names counts.
            (
                ["0.0.0.0:2377", "10.0.0.1:2377", "10.0.0.1"],
                ["0.0.0.0:2500", "", "eth1"],
                ["0.0.0.0:2500", "", "eth1"],
            ),
            (
                ["0.0.0.0:2377", "10.0.0.1:2377", ""],
                ["0.0.0.0:2377", "10.0.0.2:99", ""],
                ["0.0.0.0:2377", "10.0.0.2:99", ""],
            ),
        ] {
            let [listen, advertise, data_path] = before.map(str::to_owned);
            let before = SavedMembership::new(listen, advertise, data_path);
            let [listen_addr, advertise_addr, data_path_addr] = given.map(str::to_owned);
            let options = InitOptions {
                listen_addr,
                advertise_addr,
                data_path_addr,
                ..InitOptions::default()
            };
            let kept = kept(&options, &before, |ip| ip == here);
            assert_eq!([kept.listen_addr, kept.advertise_addr, kept.data_path_addr], expect);
        }
    }
}

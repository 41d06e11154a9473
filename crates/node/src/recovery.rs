//! What `docker swarm init --force-new-cluster` makes of a node's own state: whose data it is, and under which addresses
//! it goes on; and what `swarm restore` makes of a backup.
//!
//! Mirrors the forced half of moby's `Cluster.Init`. Beyond it, addresses that the user does not name stay as they were
//! where this machine still has them.

use std::net::{IpAddr, SocketAddr};

use swarm_ca::{CertificateFiles, Identity, Role};
use swarm_manager::{Backup, Revival};
use swarm_network::addresses::host_addresses;

use crate::addresses::{Addresses, Given, MANAGER_PORT, resolve};
use crate::error::NodeError;
use crate::node::{InitOptions, NodeConfig, saved};
use crate::state::SavedMembership;

/// Who this node is by its certificate, if that is a manager's.
pub(crate) fn manager_identity(files: &CertificateFiles) -> Result<Identity, NodeError> {
    let materials = files.load().map_err(|error| {
        NodeError::system(format!("this node's certificate cannot be used: {error}"))
    })?;
    match materials.identity() {
        identity if identity.role == Role::Manager => Ok(identity),
        _ => Err(NodeError::worker()),
    }
}

/// The addresses of the new cluster's manager.
pub(crate) fn addresses(
    options: &InitOptions,
    before: &SavedMembership,
    config: &NodeConfig,
) -> Result<Addresses, NodeError> {
    let host = host_addresses().map_err(|error| NodeError::system(error.to_string()))?;
    let is_local = |ip: IpAddr| host.iter().any(|address| address.address.addr() == ip);
    let given = kept(options, before, is_local);
    let given = Given {
        listen: &given.listen_addr,
        advertise: &given.advertise_addr,
        data_path: &given.data_path_addr,
        default_advertise: &config.default_advertise,
        managed: &config.managed_subnets,
    };
    resolve(&given, true)
}

/// The membership that is kept while the new cluster is made.
pub(crate) fn forced(node_id: &str, addresses: &Addresses) -> SavedMembership {
    let mut forced = saved(addresses);
    forced.managers = vec![(node_id.to_owned(), forced.advertise_addr.clone())];
    forced.force_new_cluster = true;
    forced
}

/// What a new manager is made of, out of a backup's bytes; nothing is written.
pub(crate) async fn revival(file: Vec<u8>, key: Option<String>) -> Result<Revival, NodeError> {
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

//! The Swarm section of `docker info`: what this node knows, and on a manager what the cluster is.

use swarm_proto::v1;

use crate::cluster::LocalState;
use crate::control::Control;
use crate::convert::swarm::cluster_info_json;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::wire;

/// Moby's warning, to the letter.
const TWO_MANAGERS: &str =
    "WARNING: Running Swarm in a two-manager configuration. This configuration provides
         no fault tolerance, and poses a high risk to lose control over the cluster.
         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the
         Swarm for fault-tolerance.";

/// Never fails: on a manager without a quorum the section says why.
pub(super) async fn swarm_info(state: &ApiState) -> wire::SwarmInfo {
    let status = state.cluster.status();
    let peer = |m: &crate::cluster::RemoteManager| wire::Peer {
        node_id: m.node_id.clone(),
        addr: m.addr.clone(),
    };
    let peers: Vec<_> = status.remote_managers.iter().map(peer).collect();
    let mut info = wire::SwarmInfo {
        node_id: status.node_id,
        node_addr: status.node_addr,
        local_node_state: status.state.as_str().to_owned(),
        control_available: status.control_available,
        error: status.error,
        remote_managers: (status.state != LocalState::Inactive)
            .then_some(peers)
            .filter(|peers| !peers.is_empty()),
        ..Default::default()
    };
    if status.control_available
        && let Err(error) = add_cluster(state, &mut info).await
    {
        info.error = error.message;
    }
    info
}

async fn add_cluster(state: &ApiState, info: &mut wire::SwarmInfo) -> Result<(), ApiError> {
    let control: Control = state.control()?;
    let all = v1::ListNodesRequest { filters: None, without_certificates: true };
    let (cluster, nodes) = tokio::join!(control.cluster(), control.list_nodes(all));
    info.cluster = Some(cluster_info_json(&cluster?));
    let nodes = nodes?.nodes;
    info.nodes = nodes.len() as u64;
    info.managers = nodes.iter().filter(|node| node.manager_status.is_some()).count() as u64;
    info.warnings.extend(even_managers(info.managers));
    Ok(())
}

/// What an even number of managers tolerates: no more than one less, and there is one more to lose.
fn even_managers(managers: u64) -> Option<String> {
    match managers {
        2 => Some(TWO_MANAGERS.to_owned()),
        0 => None,
        even if even % 2 == 0 => Some(format!(
            "WARNING: Running Swarm with {even} managers tolerates the loss of {}, no more than {} managers do.",
            (even - 1) / 2,
            even - 1
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::even_managers;

    #[test]
    fn an_even_number_of_managers_is_warned_of() {
        for (managers, expect) in [
            (0, None),
            (1, None),
            (2, Some("two-manager configuration")),
            (3, None),
            (4, Some("with 4 managers tolerates the loss of 1, no more than 3 managers do")),
            (6, Some("with 6 managers tolerates the loss of 2, no more than 5 managers do")),
        ] {
            let said = even_managers(managers);
            assert_eq!(said.is_some(), expect.is_some(), "{managers}");
            assert!(said.unwrap_or_default().contains(expect.unwrap_or_default()));
        }
    }
}

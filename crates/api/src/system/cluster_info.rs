//! The Swarm section of `docker info`: what this node knows, and on a manager what the cluster is.

use swarm_proto::v1;

use crate::cluster::LocalState;
use crate::control::Control;
use crate::convert::swarm::cluster_info_json;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::wire;

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
    let (cluster, nodes) =
        tokio::join!(control.cluster(), control.list_nodes(v1::ListNodesRequest::default()));
    info.cluster = Some(cluster_info_json(&cluster?));
    let nodes = nodes?.nodes;
    info.nodes = nodes.len() as u64;
    info.managers = nodes.iter().filter(|node| node.manager_status.is_some()).count() as u64;
    Ok(())
}

//! How a manager asks the others to be one of them.

use std::time::Duration;

use swarm_ca::{Credentials, TlsMaterials};
use swarm_proto::v1::raft_membership_client::RaftMembershipClient;
use swarm_proto::v1::{JoinRequest, JoinResponse, LeaveRequest, RaftMember};
use tonic::{Request, Status};
use tracing::debug;

use super::RAFT_ID_HEADER;

/// One manager's answer may wait for a health check and for a majority.
const JOIN_MAX: Duration = Duration::from_secs(12);
/// Leaving is a courtesy that must not hold up the node.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Asks one manager after the other to be admitted under `addr`; the first that admits answers. Who has a log already
/// tells whose it is.
///
/// # Errors
/// The last one's refusal.
pub(crate) async fn join(
    materials: &TlsMaterials,
    remotes: &[String],
    addr: &str,
    own: Option<u64>,
) -> Result<JoinResponse, Status> {
    let mut refused = Status::unavailable("no manager is known to join through");
    for remote in remotes {
        let mut client = client(materials, remote)?;
        let mut request = Request::new(JoinRequest { addr: addr.to_owned() });
        if let Some(raft_id) = own {
            request.metadata_mut().insert(RAFT_ID_HEADER, raft_id.into());
        }
        match tokio::time::timeout(JOIN_MAX, client.join(request)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => refused = status,
            Err(_) => refused = Status::deadline_exceeded("joining the managers took too long"),
        }
        debug!(manager.addr = remote, status = %refused, "a manager did not admit this one");
    }
    Err(refused)
}

/// Asks to be let go.
///
/// # Errors
/// The last manager's refusal.
pub(crate) async fn leave(
    materials: &TlsMaterials,
    remotes: &[String],
    raft_id: u64,
) -> Result<(), Status> {
    let mut refused = Status::unavailable("no other manager is known");
    for remote in remotes {
        let mut client = client(materials, remote)?;
        let node = Some(RaftMember { raft_id, ..RaftMember::default() });
        match tokio::time::timeout(LEAVE_MAX, client.leave(LeaveRequest { node })).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(status)) => refused = status,
            Err(_) => refused = Status::deadline_exceeded("leaving the managers took too long"),
        }
    }
    Err(refused)
}

fn client(
    materials: &TlsMaterials,
    remote: &str,
) -> Result<RaftMembershipClient<swarm_proto::Channel>, Status> {
    let channel = swarm_ca::connect(remote, Credentials::Member(materials.clone()))
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(RaftMembershipClient::new(channel))
}

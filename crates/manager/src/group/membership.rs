//! The service `RaftMembership`: managers join and leave the group. The leader serves it; others pass it on.
//!
//! Mirrors SwarmKit's `Node.Join` and `Node.Leave`. Beyond it a node must be known as a manager to join, so that one
//! that was removed or demoted cannot come back, and leaves for itself only.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use prost::Message as _;
use swarm_ca::{Authorizer, ForwardedCaller, Identity, PeerIdentity, Role};
use swarm_proto::v1::raft_membership_server::RaftMembership;
use swarm_proto::v1::{JoinRequest, JoinResponse, LeaveRequest, LeaveResponse, RaftMember};
use swarm_raft::MemberChange;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::{ChangeError, Group, MEMBER_REMOVED, RAFT_ID_HEADER, health};
use crate::roles;

/// How long a new member may take to answer on the address that it told.
const HEALTH_MAX: Duration = Duration::from_secs(5);

/// Changes the group's members on the leader.
#[derive(Clone)]
pub(crate) struct MembershipService {
    group: Group,
    authorizer: Authorizer,
}

impl MembershipService {
    pub(crate) fn new(group: Group, organization: &str) -> Self {
        let store = group.store.clone();
        let authorizer = Authorizer::new(organization).refusing(move |node_id| {
            let tables = store.view();
            tables
                .cluster()
                .is_some_and(|cluster| cluster.blacklisted_certificates.contains_key(node_id))
        });
        Self { group, authorizer }
    }

    fn must_lead(&self) -> Result<(), Status> {
        let error = match self.group.node() {
            None => ChangeError::NoMember,
            Some(_) if !self.group.is_leading() => ChangeError::LostLeadership,
            Some(_) => return Ok(()),
        };
        Err(error.into())
    }

    /// A demoted node that has not heard of it yet must not come back.
    fn must_be_manager(&self, node_id: &str) -> Result<(), Status> {
        match roles::may_join(&self.group.store.view(), node_id) {
            true => Ok(()),
            false => Err(Status::failed_precondition(format!(
                "node {node_id} is not a manager of this swarm: promote it, or join it anew"
            ))),
        }
    }

    /// Admits a node; `own` is the raft ID that it has a log for.
    async fn admit(
        &self,
        identity: &Identity,
        addr: String,
        own: Option<u64>,
    ) -> Result<JoinResponse, Status> {
        let _changing = self.group.changing.lock().await;
        self.must_lead()?;
        self.must_be_manager(&identity.node_id)?;
        health::check(&self.group.materials, &addr, HEALTH_MAX).await?;
        let mut known = self.group.member_of(&identity.node_id);
        if own.is_some() && known.as_ref().map(|member| member.raft_id) != own {
            // A leader that does not know it yet that it is one no longer, may not know its newest members.
            return Err(match own.is_some_and(|own| self.group.members.is_removed(own)) {
                true => Status::not_found(MEMBER_REMOVED),
                false => Status::unavailable("raft: this member is not known here"),
            });
        }
        if own.is_none()
            && let Some(lost) = known.take()
        {
            warn!(node.id = identity.node_id, raft.id = lost.raft_id, "a manager has lost its log");
            self.group.remove_now(lost.raft_id).await?;
            // It may have been demoted meanwhile, and who is no member could be made a worker before it is one again.
            self.must_be_manager(&identity.node_id)?;
        }
        let raft_id = match &known {
            Some(member) if member.addr == addr => return Ok(self.answer(member.clone())),
            Some(member) => member.raft_id,
            None => self.fresh_id(),
        };
        let member = RaftMember {
            raft_id,
            node_id: identity.node_id.clone(),
            addr,
            ..RaftMember::default()
        };
        let context = member.encode_to_vec();
        let change = match known {
            Some(_) => MemberChange::Updated { id: raft_id, context },
            None => MemberChange::Added { id: raft_id, context },
        };
        self.group.change(change).await?;
        self.group.transport.told(raft_id, &member.addr);
        let managers = self.group.members.list().len();
        info!(
            node.id = member.node_id,
            raft.id = raft_id,
            addr = member.addr,
            managers,
            "a manager joined the group"
        );
        Ok(self.answer(member))
    }

    /// A raft ID that was never used in this group; positive as a signed number, as SwarmKit's are.
    fn fresh_id(&self) -> u64 {
        let is_used =
            |id: u64| self.group.members.get(id).is_some() || self.group.members.is_removed(id);
        loop {
            let id = rand::random_range(1..=i64::MAX.unsigned_abs());
            if !is_used(id) {
                return id;
            }
        }
    }

    fn answer(&self, own: RaftMember) -> JoinResponse {
        let mut members = self.group.members.list();
        for member in &mut members {
            if let Some(addr) = self.group.transport.address(member.raft_id) {
                member.addr = addr;
            }
        }
        let raft_id = own.raft_id;
        // The change may be committed a moment before it is noted.
        members.retain(|member| member.raft_id != raft_id);
        members.push(own);
        JoinResponse { raft_id, members, removed_members: self.group.members.removed() }
    }
}

#[tonic::async_trait]
impl RaftMembership for MembershipService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let identity = self.authorizer.require_caller(&request, &[Role::Manager])?;
        let remote = caller_ip(&request);
        let addr = dialled(&request.get_ref().addr, remote)?;
        let own = request.metadata().get(RAFT_ID_HEADER);
        let own = own.and_then(|id| id.to_str().ok()?.parse().ok());
        let service = self.clone();
        // Once begun, a join is not left half done because the connection broke.
        let admitted = tokio::spawn(async move { service.admit(&identity, addr, own).await }).await;
        admitted.map_err(|_| Status::internal("joining was interrupted"))?.map(Response::new)
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        let identity = self.authorizer.require_caller(&request, &[Role::Manager])?;
        let node = request.into_inner().node;
        let node = node.ok_or_else(|| Status::invalid_argument("no node information provided"))?;
        self.must_lead()?;
        match self.group.members.get(node.raft_id) {
            Some(member) if member.node_id != identity.node_id => {
                return Err(Status::permission_denied("a manager leaves for itself only"));
            }
            Some(_) => self.group.remove(node.raft_id).await?,
            None => {}
        }
        info!(node.id = identity.node_id, "a manager left the group");
        Ok(Response::new(LeaveResponse {}))
    }
}

impl From<ChangeError> for Status {
    fn from(error: ChangeError) -> Self {
        let text = error.to_string();
        match error {
            ChangeError::Timeout => Status::deadline_exceeded(text),
            ChangeError::Quorum | ChangeError::NoMember | ChangeError::LostLeadership => {
                Status::failed_precondition(text)
            }
        }
    }
}

fn caller_ip<T>(request: &Request<T>) -> Option<IpAddr> {
    let direct = request.extensions().get::<PeerIdentity>().and_then(|peer| peer.remote_addr);
    let addr = match ForwardedCaller::of(request.metadata()) {
        Some(forwarded) => forwarded.remote_addr.and_then(|addr| addr.parse().ok()),
        None => direct,
    };
    addr.map(|addr: SocketAddr| addr.ip().to_canonical())
}

/// What to dial for the address that a node told; a node that does not know its own is taken by where it calls from.
fn dialled(told: &str, caller: Option<IpAddr>) -> Result<String, Status> {
    let invalid =
        || Status::invalid_argument(format!("invalid address {told} in raft join request"));
    let Ok(addr) = told.parse::<SocketAddr>() else {
        // A name, which is dialled as it stands.
        let (host, port) = told.rsplit_once(':').ok_or_else(invalid)?;
        port.parse::<u16>().map_err(|_| invalid())?;
        return if host.is_empty() { Err(invalid()) } else { Ok(told.to_owned()) };
    };
    if !addr.ip().is_unspecified() {
        return Ok(told.to_owned());
    }
    Ok(SocketAddr::new(caller.ok_or_else(invalid)?, addr.port()).to_string())
}

#[cfg(test)]
mod tests {
    use super::dialled;

    #[test]
    fn a_caller_that_does_not_know_its_address_is_taken_by_its_connection() {
        let caller = "10.0.0.7".parse().ok();
        for (told, caller, expect) in [
            ("10.0.0.1:2377", caller, Some("10.0.0.1:2377")),
            ("0.0.0.0:2377", caller, Some("10.0.0.7:2377")),
            ("[::]:2377", caller, Some("10.0.0.7:2377")),
            ("0.0.0.0:2377", None, None),
            ("host:99", caller, Some("host:99")),
            ("host", caller, None),
            (":99", caller, None),
        ] {
            assert_eq!(dialled(told, caller).ok().as_deref(), expect, "{told}");
        }
    }
}

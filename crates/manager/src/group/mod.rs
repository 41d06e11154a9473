//! The managers' Raft group as this manager takes part in it: the way to the others, what they send, who joins and
//! leaves, and how the group looks to clients.
//!
//! ```text
//!   RaftNode ── transport ── sender ══ Raft ══> service ──> RaftNode
//!   a new manager ── joining ══ RaftMembership ══> membership ──> RaftNode (a change of the members)
//! ```
//!
//! Mirrors the gRPC half of SwarmKit's `manager/state/raft`. Not here: the algorithm and the log (the room `raft`), and
//! roles, which `role_manager` reconciles with the members.

mod express;
pub(crate) mod health;
pub(crate) mod joining;
mod line;
mod membership;
mod merge;
mod pieces;
mod sender;
mod service;
mod transport;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prost::Message as _;
use swarm_ca::TlsMaterials;
use swarm_proto::v1::raft_member_status::Reachability;
use swarm_proto::v1::{ManagerStatus, RaftMember as Member};
use swarm_raft::{MemberChange, Members, RaftError, RaftNode};
use swarm_store::Store;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::control::{RaftMember, RaftMembership};
use crate::roles;
pub(crate) use express::{Express, go_first};
pub(crate) use membership::MembershipService;
pub(crate) use service::RaftService;
pub(crate) use transport::PeerTransport;

/// What a member that was removed is told (SwarmKit's `ErrMemberRemoved`).
pub(crate) const MEMBER_REMOVED: &str = "raft: member was removed from the cluster";
/// Whether an answer is for a member that was removed.
pub(crate) fn tells_removal(status: &Status) -> bool {
    status.code() == Code::NotFound && status.message() == MEMBER_REMOVED
}

/// Where the sender of a Raft message is dialled, told with each: who comes back on another address is followed at
/// once, by its certificate.
pub(crate) const ADDRESS_HEADER: &str = "swarm-addr";
/// The raft ID of a manager that has its log and tells its address. One that asks to join without it has no log, and so
/// no memory of its votes: it gets a new ID, whatever it was before.
pub(crate) const RAFT_ID_HEADER: &str = "swarm-raft-id";
/// A change of the members that a majority does not take in this time is given up.
const CHANGE_MAX: Duration = Duration::from_secs(5);
/// Between two attempts while another change is under way.
const CHANGE_PAUSE: Duration = Duration::from_millis(50);
/// A new leader is found in less.
const TRANSFER_MAX: Duration = Duration::from_secs(2);

/// This manager's place in the group; clones share it.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) members: Members,
    pub(crate) transport: PeerTransport,
    pub(crate) store: Store,
    pub(crate) materials: TlsMaterials,
    node: Arc<OnceLock<RaftNode>>,
    /// Held while the members change: one at a time.
    changing: Arc<Mutex<()>>,
}

impl Group {
    pub(crate) fn new(
        members: Members,
        transport: PeerTransport,
        store: Store,
        materials: TlsMaterials,
    ) -> Self {
        Self {
            members,
            transport,
            store,
            materials,
            node: Arc::default(),
            changing: Arc::default(),
        }
    }

    /// From now on this manager is a member.
    pub(crate) fn attach(&self, node: RaftNode) {
        self.transport.attach(node.clone());
        // Set twice only by a caller's mistake, and then both are the same member.
        let _ = self.node.set(node);
    }

    /// The member, once there is one.
    pub(crate) fn node(&self) -> Option<&RaftNode> {
        self.node.get()
    }

    /// Whether this manager leads and takes writes.
    pub(crate) fn is_leading(&self) -> bool {
        self.node().is_some_and(|node| node.status().serving)
    }

    /// The member on a node.
    pub(crate) fn member_of(&self, node_id: &str) -> Option<Member> {
        self.members.list().into_iter().find(|member| member.node_id == node_id)
    }

    /// Whether the others would have a quorum without this member.
    pub(crate) fn can_remove(&self, raft_id: u64) -> bool {
        let Some(node) = self.node() else { return false };
        let status = node.status();
        let is_active = |id: u64| id == status.id || self.transport.is_active(id);
        roles::can_remove(&status.voters, raft_id, is_active)
    }

    /// Removes a member, unless the rest would lose its quorum.
    pub(crate) async fn remove(&self, raft_id: u64) -> Result<(), ChangeError> {
        let _changing = self.changing.lock().await;
        self.remove_now(raft_id).await
    }

    /// Has this member's record say where it is dialled by now; for the leader itself, which asks nobody.
    pub(crate) async fn tell_address(&self, own: &Member) -> Result<(), ChangeError> {
        let _changing = self.changing.lock().await;
        let context = own.encode_to_vec();
        self.change(MemberChange::Updated { id: own.raft_id, context }).await
    }

    /// As [`Group::remove`]; the caller holds `changing`.
    async fn remove_now(&self, raft_id: u64) -> Result<(), ChangeError> {
        if self.members.get(raft_id).is_none() {
            return Ok(());
        }
        if !self.can_remove(raft_id) {
            return Err(ChangeError::Quorum);
        }
        self.change(MemberChange::Removed { id: raft_id }).await
    }

    /// Commits one change; the caller holds `changing`.
    async fn change(&self, change: MemberChange) -> Result<(), ChangeError> {
        let node = self.node().ok_or(ChangeError::NoMember)?;
        let deadline = Instant::now() + CHANGE_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = timeout(left, node.propose_change(change.clone())).await;
            match answer {
                Ok(Ok(Ok(_))) => return Ok(()),
                Ok(Ok(Err(RaftError::ConfChangePending | RaftError::ProposalDropped))) => {
                    tokio::time::sleep(CHANGE_PAUSE).await;
                }
                Ok(Ok(Err(RaftError::NotLeader { .. } | RaftError::LeadershipLost))) => {
                    return Err(ChangeError::LostLeadership);
                }
                Ok(_) => return Err(ChangeError::NoMember),
                Err(_) => return Err(ChangeError::Timeout),
            }
        }
    }

    /// Hands leadership to the member that is in reach for the longest time, and waits until it has moved.
    pub(crate) async fn transfer_leadership(&self) -> bool {
        let Some(node) = self.node() else { return false };
        let status = node.status();
        let heir = self.transport.longest_active().filter(|id| status.voters.contains(id));
        let Some(heir) = heir.filter(|_| status.leader == Some(status.id)) else { return false };
        if node.transfer_leadership(heir).is_err() {
            return false;
        }
        let mut news = node.watch();
        let moved =
            news.wait_for(|now| now.leader.is_some_and(|id| id != status.id) || now.stopped);
        matches!(timeout(TRANSFER_MAX, moved).await, Ok(Ok(_)))
    }
}

/// Why the members could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The rest would have no quorum.
    #[error("raft: member cannot be removed, because removing it may result in loss of quorum")]
    Quorum,
    /// This manager takes no part yet, or no more.
    #[error("raft: node is not yet part of a raft cluster")]
    NoMember,
    /// Another manager leads.
    #[error("raft: failed to process the request: node lost leader status")]
    LostLeadership,
    /// No majority answered.
    #[error("a majority of the managers did not answer in time")]
    Timeout,
}

impl RaftMembership for Group {
    fn members(&self) -> Vec<RaftMember> {
        let Some(node) = self.node() else { return Vec::new() };
        let status = node.status();
        let told = |member: Member| {
            let id = member.raft_id;
            let is_reachable = id == status.id || self.transport.is_active(id);
            let reachability =
                if is_reachable { Reachability::Reachable } else { Reachability::Unreachable };
            RaftMember {
                node_id: member.node_id,
                status: ManagerStatus {
                    raft_id: id,
                    addr: self.transport.address(id).unwrap_or(member.addr),
                    leader: status.leader == Some(id),
                    reachability: reachability.into(),
                },
            }
        };
        self.members.list().into_iter().map(told).collect()
    }

    fn can_remove(&self, raft_id: u64) -> bool {
        Group::can_remove(self, raft_id)
    }
}

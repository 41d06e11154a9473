//! Ties a member to the object store: entries hold SwarmKit's `InternalRaftRequest`, snapshots its `Snapshot`.
//!
//! The store needs a proposer before the member exists, and the member a state machine that holds the store: make a
//! [`RaftProposer`], then the store, then the node with a [`StoreMachine`], then [`RaftProposer::attach`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prost::Message as _;
use prost::encoding::WireType;
use swarm_proto::v1::{ClusterSnapshot, RaftMember, Snapshot};
use swarm_store::{Proposal, ProposeError, Proposer, Store, Tables};
use tokio::sync::watch;

use crate::driver::{
    Capture, Committed, Leadership, MachineError, MemberChange, RaftNode, StateMachine,
};

/// The store's way into the log.
#[derive(Default)]
pub struct RaftProposer {
    node: OnceLock<RaftNode>,
}

impl RaftProposer {
    /// Proposals go to this member from now on; a second call changes nothing.
    pub fn attach(&self, node: RaftNode) {
        // Set twice only by a caller's mistake, and then both are the same group.
        let _ = self.node.set(node);
    }
}

impl Proposer for RaftProposer {
    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let node = self.node.get().ok_or(ProposeError::NotLeader)?;
        node.submit(proposal.body, proposal.ticket)
            .map_err(|error| ProposeError::Closed(error.to_string()))
    }
}

/// Who is and was in the group, as the log tells; shared with whoever needs addresses.
#[derive(Debug, Clone, Default)]
pub struct Members {
    content: Arc<Mutex<ClusterMembers>>,
    changes: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct ClusterMembers {
    members: BTreeMap<u64, RaftMember>,
    removed: BTreeSet<u64>,
}

impl Members {
    /// The members, by raft ID.
    pub fn list(&self) -> Vec<RaftMember> {
        self.with(|content| content.members.values().cloned().collect())
    }

    /// One member.
    pub fn get(&self, raft_id: u64) -> Option<RaftMember> {
        self.with(|content| content.members.get(&raft_id).cloned())
    }

    /// Whether a member with this raft ID was removed; such an ID is never used again.
    pub fn is_removed(&self, raft_id: u64) -> bool {
        self.with(|content| content.removed.contains(&raft_id))
    }

    /// The raft IDs of all members that were removed.
    pub fn removed(&self) -> Vec<u64> {
        self.with(|content| content.removed.iter().copied().collect())
    }

    /// Marked as changed after every change.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Takes over what a manager told a member that has no log yet, so that it can answer; the log that it then gets
    /// tells the same and more. Members that are known already stay as they are.
    pub fn introduce(&self, members: Vec<RaftMember>) {
        self.with(|content| {
            for member in members {
                if !content.removed.contains(&member.raft_id) {
                    content.members.entry(member.raft_id).or_insert(member);
                }
            }
        });
        self.changes.send_replace(());
    }

    fn with<R>(&self, work: impl FnOnce(&mut ClusterMembers) -> R) -> R {
        work(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: MemberChange) {
        self.with(|content| match change {
            MemberChange::Added { id, context }
            | MemberChange::AddedLearner { id, context }
            | MemberChange::Updated { id, context } => {
                // A context of another maker still names a member, without an address.
                let member = RaftMember::decode(context.as_slice()).unwrap_or_default();
                content.members.insert(id, RaftMember { raft_id: id, ..member });
            }
            MemberChange::Removed { id } => {
                content.members.remove(&id);
                content.removed.insert(id);
            }
        });
        self.changes.send_replace(());
    }

    fn to_snapshot(&self) -> ClusterSnapshot {
        ClusterSnapshot { members: self.list(), removed: self.removed() }
    }

    fn restore(&self, snapshot: ClusterSnapshot) {
        self.with(|content| {
            content.members =
                snapshot.members.into_iter().map(|member| (member.raft_id, member)).collect();
            content.removed = snapshot.removed.into_iter().collect();
        });
        self.changes.send_replace(());
    }
}

/// The store as a state machine.
pub struct StoreMachine {
    store: Store,
    members: Members,
}

impl StoreMachine {
    /// The state machine that keeps `store` and `members` at what the log says.
    pub fn new(store: Store, members: Members) -> Self {
        Self { store, members }
    }
}

impl StateMachine for StoreMachine {
    fn apply(&mut self, entry: Committed<'_>) -> Result<(), MachineError> {
        match entry.ticket {
            Some(ticket) => self.store.committed(ticket),
            None => self.store.apply(entry.data)?,
        }
        Ok(())
    }

    fn membership(&mut self, _index: u64, change: MemberChange) {
        self.members.change(change);
    }

    fn leadership(&mut self, leadership: Leadership) {
        match leadership {
            Leadership::Gained { index } => self.store.became_leader(index),
            Leadership::Lost => self.store.lost_leadership(),
        }
    }

    fn snapshot(&mut self) -> Capture {
        let (membership, tables) = (self.members.to_snapshot(), self.store.view());
        Box::new(move || encode(&membership, &tables))
    }

    fn restore(&mut self, body: &[u8]) -> Result<(), MachineError> {
        let snapshot = Snapshot::decode(body)?;
        self.members.restore(snapshot.membership.unwrap_or_default());
        self.store.restore(snapshot.store.unwrap_or_default());
        Ok(())
    }
}

/// The fields of [`Snapshot`] that hold these.
const MEMBERSHIP_FIELD: u32 = 2;
const STORE_FIELD: u32 = 3;

/// A [`Snapshot`]'s bytes, made of the objects where they are: the message itself would want a copy of each.
fn encode(membership: &ClusterSnapshot, tables: &Tables) -> Vec<u8> {
    let store_bytes = tables.encoded_len();
    let mut body = Vec::with_capacity(
        prost::encoding::message::encoded_len(MEMBERSHIP_FIELD, membership)
            + prost::encoding::key_len(STORE_FIELD)
            + prost::encoding::encoded_len_varint(store_bytes as u64)
            + store_bytes,
    );
    prost::encoding::message::encode(MEMBERSHIP_FIELD, membership, &mut body);
    prost::encoding::encode_key(STORE_FIELD, WireType::LengthDelimited, &mut body);
    prost::encoding::encode_varint(store_bytes as u64, &mut body);
    tables.encode_snapshot(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{Service, Task};

    use super::*;

    #[test]
    fn a_snapshot_is_encoded_as_its_message_is() {
        let membership = ClusterSnapshot {
            members: vec![RaftMember {
                raft_id: 300,
                node_id: "me".into(),
                ..RaftMember::default()
            }],
            removed: vec![4],
        };
        let mut tables = Tables::default();
        for tasks in [0, 1, 1000] {
            for number in 0..tasks {
                let task = Task { id: format!("{number:05}"), slot: number, ..Task::default() };
                // Made in the round before.
                let _ = tables.create(task);
            }
            let message = Snapshot {
                membership: Some(membership.clone()),
                store: Some(tables.to_snapshot()),
                ..Snapshot::default()
            };
            let body = encode(&membership, &tables);
            assert_eq!(body, message.encode_to_vec());
            assert_eq!(body.capacity(), body.len(), "made at once");
            assert_eq!(Snapshot::decode(body.as_slice()).expect("decodes"), message);
            let _ = tables.create(Service { id: format!("s{tasks}"), ..Service::default() });
        }
    }
}

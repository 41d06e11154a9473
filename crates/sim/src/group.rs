//! The managers' group: how its members are set up, and how one of them sees the others.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use swarm_manager::roles;
use swarm_proto::v1::RaftMember;
use swarm_raft::{Members, RaftConfig, RaftNode};

use crate::seat::{machine_of, node_id};

/// Who was not heard of for so long is out of reach, as for the managers' transport.
const ACTIVE_MAX: Duration = Duration::from_secs(3);

/// What is told about a member.
pub(crate) fn context(id: u64) -> Vec<u8> {
    let node_id = node_id(machine_of(id));
    RaftMember { raft_id: id, node_id, ..RaftMember::default() }.encode_to_vec()
}

/// The group as a member sees it.
pub(crate) struct Peers<'a> {
    pub(crate) node: &'a RaftNode,
    pub(crate) members: &'a Members,
    pub(crate) heard: &'a BTreeMap<u64, Duration>,
}

impl Peers<'_> {
    fn is_active(&self, now: Duration, raft_id: u64) -> bool {
        raft_id == self.node.status().id
            || self.heard.get(&raft_id).is_some_and(|heard| *heard + ACTIVE_MAX >= now)
    }

    pub(crate) fn can_remove(&self, now: Duration, raft_id: u64) -> bool {
        let voters = self.node.status().voters;
        roles::can_remove(&voters, raft_id, |voter| self.is_active(now, voter))
    }

    /// Who might lead instead.
    pub(crate) fn heir(&self, now: Duration) -> Option<u64> {
        let status = self.node.status();
        let others = status.voters.iter().copied().filter(|voter| *voter != status.id);
        others.into_iter().find(|voter| self.is_active(now, *voter))
    }
}

/// How the members of a simulated group differ from real ones: snapshots come often, elections are sometimes crowded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupOptions {
    pub(crate) snapshot_entries: u64,
    pub(crate) keep_entries: u64,
    pub(crate) election_ticks_spread: usize,
}

impl GroupOptions {
    /// Whether elections often have several candidates.
    pub(crate) fn is_crowded(self) -> bool {
        self.election_ticks_spread < 5
    }
}

/// A member's settings.
pub(crate) fn config(id: u64, group: GroupOptions) -> RaftConfig {
    let mut config = RaftConfig::new(id, "");
    config.tick = TICK;
    config.member.election_ticks_max = config.member.election_ticks + group.election_ticks_spread;
    config.snapshot_entries = group.snapshot_entries;
    config.keep_entries = group.keep_entries;
    config
}

/// The length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(100);

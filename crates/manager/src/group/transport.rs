//! The way to the other members: two bounded queues for each, so that heartbeats never wait behind bulk.
//!
//! Mirrors SwarmKit's `manager/state/raft/transport`. Addresses are those that the group's log tells, unless a member
//! that shows its certificate has told a newer one. Not here: what arrives (`service`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use swarm_ca::TlsMaterials;
use swarm_raft::{Members, Outgoing, RaftNode, Transport};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::info;

use super::sender::{Lane, Sender};

/// Small messages that wait for one member: some seconds of heartbeats. They are dropped beyond it, as Raft repeats
/// what matters.
const SMALL_WAITING_MAX: usize = 64;
/// Appends and snapshots that wait for one member: as many as Raft has on the way, so that none is dropped while the
/// member answers.
const BULK_WAITING_MAX: usize = 128;
/// A member that was not reached for so long counts as unreachable; heartbeats are far more frequent.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The ways to all members.
#[derive(Clone)]
pub(crate) struct PeerTransport {
    shared: Arc<Shared>,
}

/// What the transport and its senders share.
pub(super) struct Shared {
    pub(super) members: Members,
    pub(super) materials: TlsMaterials,
    /// What this member tells others to dial.
    pub(super) own_addr: String,
    runtime: Handle,
    node: OnceLock<RaftNode>,
    peers: Mutex<BTreeMap<u64, Peer>>,
    /// Addresses that members told themselves, newer than the log.
    told: Mutex<BTreeMap<u64, String>>,
    removed: watch::Sender<bool>,
}

/// The way to one member.
struct Peer {
    small: mpsc::Sender<Outgoing>,
    bulk: mpsc::Sender<Outgoing>,
    contact: Arc<Contact>,
    tasks: [AbortHandle; 2],
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// When a member was last reached, and since when without a long silence.
#[derive(Debug, Default)]
pub(super) struct Contact {
    times: Mutex<Option<(Instant, Instant)>>,
}

impl Contact {
    /// The member has answered.
    pub(super) fn note(&self, now: Instant) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        *times = Some(match *times {
            Some((since, last)) if now.duration_since(last) <= SILENCE_MAX => (since, now),
            _ => (now, now),
        });
    }

    /// Since when the member is in reach; none where it isn't.
    fn active_since(&self, now: Instant) -> Option<Instant> {
        let times = *self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times
            .filter(|(_, last)| now.saturating_duration_since(*last) <= SILENCE_MAX)
            .map(|(since, _)| since)
    }
}

impl PeerTransport {
    /// Ways to the members that the log names, on this runtime.
    pub(crate) fn new(
        members: Members,
        materials: TlsMaterials,
        own_addr: String,
        runtime: Handle,
    ) -> Self {
        let shared = Shared {
            members,
            materials,
            own_addr,
            runtime,
            node: OnceLock::new(),
            peers: Mutex::default(),
            told: Mutex::default(),
            removed: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Outcomes are told to this member from now on.
    pub(crate) fn attach(&self, node: RaftNode) {
        // Set twice only by a caller's mistake, and then both are the same member.
        let _ = self.shared.node.set(node);
    }

    /// Whether a member is in reach.
    pub(crate) fn is_active(&self, raft_id: u64) -> bool {
        self.active_since(raft_id).is_some()
    }

    /// The member that is in reach for the longest time.
    pub(crate) fn longest_active(&self) -> Option<u64> {
        let ids: Vec<u64> = self.shared.peers().keys().copied().collect();
        ids.into_iter()
            .filter(|id| self.shared.members.get(*id).is_some())
            .filter_map(|id| Some((self.active_since(id)?, id)))
            .min()
            .map(|(_, id)| id)
    }

    /// A member has shown its certificate and told where to dial it.
    pub(crate) fn told(&self, raft_id: u64, addr: &str) {
        let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = told.get(&raft_id).cloned();
        let known = known.or_else(|| self.shared.members.get(raft_id).map(|member| member.addr));
        if known.as_deref() == Some(addr) {
            return;
        }
        info!(raft.id = raft_id, addr, "a manager has a new address");
        told.insert(raft_id, addr.to_owned());
    }

    /// Where a member is dialled.
    pub(crate) fn address(&self, raft_id: u64) -> Option<String> {
        self.shared.address(raft_id)
    }

    /// Turns true once another member has said that this one was removed.
    pub(crate) fn removed(&self) -> watch::Receiver<bool> {
        self.shared.removed.subscribe()
    }

    /// Notes that this member was removed.
    pub(crate) fn note_removed(&self) {
        self.shared.note_removed();
    }

    /// Gives up the ways to members that are gone.
    pub(crate) fn forget(&self) {
        let members = &self.shared.members;
        self.shared.peers().retain(|id, _| !members.is_removed(*id));
    }

    /// Ends all ways.
    pub(crate) fn close(&self) {
        self.shared.peers().clear();
    }

    fn active_since(&self, raft_id: u64) -> Option<Instant> {
        self.shared.peers().get(&raft_id)?.contact.active_since(Instant::now())
    }

    fn peer(&self, raft_id: u64) -> Peer {
        let contact = Arc::new(Contact::default());
        let start = |lane: Lane, waiting_max: usize| {
            let (queue, messages) = mpsc::channel(waiting_max);
            let sender = Sender::new(self.shared.clone(), raft_id, lane, contact.clone());
            (queue, self.shared.runtime.spawn(sender.run(messages)).abort_handle())
        };
        let (small, small_task) = start(Lane::Small, SMALL_WAITING_MAX);
        let (bulk, bulk_task) = start(Lane::Bulk, BULK_WAITING_MAX);
        Peer { small, bulk, contact, tasks: [small_task, bulk_task] }
    }
}

impl Transport for PeerTransport {
    fn send(&self, messages: Vec<Outgoing>) {
        let mut peers = self.shared.peers();
        for message in messages {
            let to = message.to;
            if self.shared.members.is_removed(to) {
                continue;
            }
            let peer = peers.entry(to).or_insert_with(|| self.peer(to));
            let queue = match Lane::of(&message) {
                Lane::Small => &peer.small,
                Lane::Bulk => &peer.bulk,
            };
            if let Err(mpsc::error::TrySendError::Full(lost)) = queue.try_send(message) {
                self.shared.lost(to, lost.is_snapshot);
            }
        }
    }
}

impl Shared {
    pub(super) fn address(&self, raft_id: u64) -> Option<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(&raft_id)
            .cloned()
            .or_else(|| self.members.get(raft_id).map(|member| member.addr))
            .filter(|addr| !addr.is_empty())
    }

    /// A message did not arrive.
    pub(super) fn lost(&self, raft_id: u64, is_snapshot: bool) {
        let Some(node) = self.node.get() else { return };
        // A member that has stopped needs no reports.
        if is_snapshot {
            let _ = node.report_snapshot(raft_id, false);
        }
        let _ = node.report_unreachable(raft_id);
    }

    pub(super) fn snapshot_arrived(&self, raft_id: u64) {
        if let Some(node) = self.node.get() {
            // A member that has stopped needs no reports.
            let _ = node.report_snapshot(raft_id, true);
        }
    }

    pub(super) fn note_removed(&self) {
        self.removed.send_if_modified(|removed| !std::mem::replace(removed, true));
    }

    // The map is whole between any two statements that could panic.
    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_a_member_unreachable_and_an_answer_brings_it_back() {
        let contact = Contact::default();
        let start = Instant::now();
        assert_eq!(contact.active_since(start), None);
        contact.note(start);
        let later = start + SILENCE_MAX;
        contact.note(later);
        assert_eq!(contact.active_since(later), Some(start));
        let silent = later + SILENCE_MAX + Duration::from_millis(1);
        assert_eq!(contact.active_since(silent), None);
        contact.note(silent);
        assert_eq!(contact.active_since(silent), Some(silent));
    }
}

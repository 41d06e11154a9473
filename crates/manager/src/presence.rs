//! A manager among the others: what it tells of them, and how it makes itself known to them.

use std::net::SocketAddr;
use std::time::Duration;

use swarm_proto::v1::{Peer, RaftMember, WeightedPeer};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::group::{Group, joining, tells_removal};

/// The weight by which agents choose among managers (SwarmKit's `remotes.DefaultObservationWeight`).
const PEER_WEIGHT: i64 = 10;
/// How many managers there are is told once it has stayed so: one that joins learns of the others one by one.
const SETTLING_TIME: Duration = Duration::from_secs(2);
/// Between two attempts to make this member known to the others.
const PRESENT_PAUSE: Duration = Duration::from_secs(1);

/// Keeps what depends on the members up to date: the ways to them, what agents are told, and whether this one is one.
pub(crate) async fn follow_members(
    group: Group,
    own: u64,
    peers: watch::Sender<Vec<WeightedPeer>>,
) {
    let mut changes = group.members.watch();
    let mut told = 0;
    loop {
        group.transport.forget();
        if group.members.is_removed(own) {
            group.transport.note_removed();
        }
        let members = group.members.list();
        let count = members.len();
        let now = members.into_iter().map(weighted).collect();
        peers.send_if_modified(|known| {
            let is_news = *known != now;
            *known = now;
            is_news
        });
        if told != count {
            match tokio::time::timeout(SETTLING_TIME, changes.changed()).await {
                Ok(Ok(())) => continue,
                Ok(Err(_)) => return,
                Err(_) => tell_tolerance(count),
            }
            told = count;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// An even number of managers tolerates no more losses than one less, and is one more to lose.
fn tell_tolerance(managers: usize) {
    let tolerated = managers.saturating_sub(1) / 2;
    if managers == 2 {
        warn!(
            managers,
            tolerated,
            "a swarm with two managers has no fault tolerance: without either of them it cannot be changed"
        );
    } else if managers.is_multiple_of(2) {
        warn!(
            managers,
            tolerated, "an even number of managers tolerates no more losses than one less"
        );
    } else {
        info!(managers, tolerated, "managers of this swarm");
    }
}

fn weighted(member: RaftMember) -> WeightedPeer {
    let peer = Peer { node_id: member.node_id, addr: member.addr };
    WeightedPeer { peer: Some(peer), weight: PEER_WEIGHT }
}

/// Makes this member known to the others until the log says what it says: after an address changed, or where a crash
/// came between joining and the first entry.
pub(crate) async fn present(group: Group, own: RaftMember, remotes: Vec<String>) {
    let Some(raft) = group.node() else { return };
    let mut status = raft.watch();
    loop {
        let led = status.wait_for(|now| now.leader.is_some());
        // A leader that was not heard may have moved as well, so that neither finds the other: the rest know both.
        let _ = tokio::time::timeout(PRESENT_PAUSE, led).await;
        let is_voter = raft.status().voters.contains(&own.raft_id);
        let is_known = group.members.get(own.raft_id).is_some_and(|m| m.addr == own.addr);
        if is_voter && (is_known || !is_specified(&own.addr)) {
            return;
        }
        if group.is_leading() && is_voter {
            if let Err(error) = group.tell_address(&own).await {
                debug!(%error, "the new address is not taken note of");
            }
        } else {
            let mut known: Vec<String> = group
                .members
                .list()
                .into_iter()
                .filter(|member| member.raft_id != own.raft_id && !member.addr.is_empty())
                .map(|member| member.addr)
                .collect();
            known.extend(
                remotes
                    .iter()
                    .filter(|remote| !known.contains(remote))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            match joining::join(&group.materials, &known, &own.addr, Some(own.raft_id)).await {
                Ok(answer) => group.members.introduce(answer.members),
                // Without an entry in its log, a member hears of its removal in no other way.
                Err(status) if tells_removal(&status) => return group.transport.note_removed(),
                Err(status) => debug!(%status, "the other managers do not take note of this one"),
            }
        }
        tokio::time::sleep(PRESENT_PAUSE).await;
    }
}

/// Whether others can dial this address.
pub(crate) fn is_specified(addr: &str) -> bool {
    addr.parse().map_or(!addr.is_empty(), |addr: SocketAddr| !addr.ip().is_unspecified())
}

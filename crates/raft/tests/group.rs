//! Members that talk to each other over a network in memory: one that joins late gets a snapshot, and those that go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swarm_raft::{
    Capture, Committed, Leadership, MachineError, MemberChange, Outgoing, RaftConfig, RaftNode,
    StateMachine, Transport,
};

/// Delivers at once to whoever is there.
#[derive(Clone, Default)]
struct Network {
    nodes: Arc<Mutex<BTreeMap<u64, RaftNode>>>,
}

impl Network {
    fn put(&self, id: u64, node: &RaftNode) {
        self.nodes.lock().expect("not poisoned").insert(id, node.clone());
    }

    fn get(&self, id: u64) -> Option<RaftNode> {
        self.nodes.lock().expect("not poisoned").get(&id).cloned()
    }

    /// What this member sends through.
    fn of(&self, id: u64) -> Arc<Wire> {
        Arc::new(Wire { from: id, network: self.clone() })
    }
}

struct Wire {
    from: u64,
    network: Network,
}

impl Transport for Wire {
    fn send(&self, messages: Vec<Outgoing>) {
        for message in messages {
            let arrived =
                self.network.get(message.to).is_some_and(|to| to.step(&message.body).is_ok());
            if let Some(from) = self.network.get(self.from).filter(|_| message.is_snapshot) {
                // A member that has stopped wants no reports.
                let _ = from.report_snapshot(message.to, arrived);
            }
        }
    }
}

/// Keeps what it is told, and counts restores.
#[derive(Clone, Default)]
struct Bytes {
    applied: Arc<Mutex<Vec<u8>>>,
    restores: Arc<Mutex<u32>>,
}

impl Bytes {
    fn applied(&self) -> Vec<u8> {
        self.applied.lock().expect("not poisoned").clone()
    }
}

impl StateMachine for Bytes {
    fn apply(&mut self, entry: Committed<'_>) -> Result<(), MachineError> {
        self.applied.lock().expect("not poisoned").extend_from_slice(entry.data);
        Ok(())
    }

    fn membership(&mut self, _index: u64, _change: MemberChange) {}

    fn leadership(&mut self, _leadership: Leadership) {}

    fn snapshot(&mut self) -> Capture {
        let applied = self.applied();
        Box::new(move || applied)
    }

    fn restore(&mut self, body: &[u8]) -> Result<(), MachineError> {
        *self.applied.lock().expect("not poisoned") = body.to_vec();
        *self.restores.lock().expect("not poisoned") += 1;
        Ok(())
    }
}

fn start(network: &Network, dir: &Path, id: u64) -> (RaftNode, Bytes) {
    let mut config = RaftConfig::new(id, dir.join(id.to_string()));
    if id == 1 {
        config = config.founding(Vec::new());
    }
    config.tick = Duration::from_millis(10);
    (config.snapshot_entries, config.keep_entries) = (50, 5);
    let machine = Bytes::default();
    let node = RaftNode::start(config, Box::new(machine.clone()), network.of(id)).expect("starts");
    network.put(id, &node);
    (node, machine)
}

async fn until(what: &str, state: impl Fn() -> bool) {
    let wait = async {
        while !state() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what);
}

#[tokio::test]
async fn a_member_that_joins_late_gets_a_snapshot_while_entries_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let network = Network::default();
    let (leader, first) = start(&network, dir.path(), 1);
    leader.watch().wait_for(|status| status.serving).await.expect("lives");
    for number in 0..200 {
        leader.propose(vec![number]).await.expect("answered").expect("committed");
    }
    leader.snapshot().await.expect("answered").expect("taken");
    let joins = MemberChange::Added { id: 2, context: Vec::new() };
    // Committed only once the second member answers: a group of two needs both.
    let joined = leader.propose_change(joins);
    let (follower, second) = start(&network, dir.path(), 2);
    joined.await.expect("answered").expect("committed");
    for number in 0..100 {
        leader.propose(vec![number]).await.expect("answered").expect("committed");
    }
    until("both have all", || second.applied() == first.applied()).await;
    assert_eq!(first.applied().len(), 300);
    assert!(*second.restores.lock().expect("not poisoned") >= 1);
    follower.shutdown();

    // Its own log has what it got.
    let (follower, second) = start(&network, dir.path(), 2);
    until("it is back", || second.applied() == first.applied()).await;
    let mut voters = follower.status().voters;
    voters.sort_unstable();
    assert_eq!(voters, [1, 2]);
    follower.shutdown();
    leader.shutdown();
}

//! A group of one over a real disk: it leads at once, keeps what it acknowledged, and goes on after a restart.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use swarm_raft::{
    Capture, Committed, Leadership, LogError, MachineError, MemberChange, Outgoing, RaftConfig,
    RaftError, RaftNode, StateMachine, Status, Transport,
};

/// Nobody to talk to.
struct NoTransport;

impl Transport for NoTransport {
    fn send(&self, messages: Vec<Outgoing>) {
        assert!(messages.is_empty(), "a member that is alone sends nothing");
    }
}

/// Stops whoever passes while it is closed.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, is_closed: bool) {
        *self.is_closed.lock().expect("not poisoned") = is_closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let is_closed = self.is_closed.lock().expect("not poisoned");
        drop(self.changed.wait_while(is_closed, |is_closed| *is_closed).expect("not poisoned"));
    }
}

/// Keeps the numbers that it is told, in order.
#[derive(Clone, Default)]
struct Numbers {
    applied: Arc<Mutex<Vec<u64>>>,
    news: Arc<Mutex<Vec<String>>>,
    gate: Arc<Gate>,
}

impl Numbers {
    fn applied(&self) -> Vec<u64> {
        self.applied.lock().expect("not poisoned").clone()
    }

    fn note(&self, news: impl ToString) {
        self.news.lock().expect("not poisoned").push(news.to_string());
    }
}

impl StateMachine for Numbers {
    fn apply(&mut self, entry: Committed<'_>) -> Result<(), MachineError> {
        let number = u64::from_be_bytes(entry.data.try_into()?);
        self.applied.lock().expect("not poisoned").push(number);
        if let Some(ticket) = entry.ticket {
            assert_eq!(ticket, number);
            self.note(format!("own {ticket}"));
        }
        Ok(())
    }

    fn membership(&mut self, index: u64, change: MemberChange) {
        self.note(format!("{index}: {change:?}"));
    }

    fn leadership(&mut self, leadership: Leadership) {
        self.note(format!("{leadership:?}"));
    }

    fn snapshot(&mut self) -> Capture {
        let (applied, gate) = (self.applied(), self.gate.clone());
        Box::new(move || {
            // Encoding goes on only while the test lets it.
            gate.pass();
            applied.iter().flat_map(|number| number.to_be_bytes()).collect()
        })
    }

    fn restore(&mut self, body: &[u8]) -> Result<(), MachineError> {
        let numbers = body.chunks_exact(8).map(|chunk| Ok(u64::from_be_bytes(chunk.try_into()?)));
        *self.applied.lock().expect("not poisoned") =
            numbers.collect::<Result<_, MachineError>>()?;
        Ok(())
    }
}

fn start(dir: &Path, change: impl FnOnce(&mut RaftConfig)) -> (RaftNode, Numbers) {
    let machine = Numbers::default();
    let mut config = RaftConfig::new(7, dir).founding(b"me".to_vec());
    change(&mut config);
    let node =
        RaftNode::start(config, Box::new(machine.clone()), Arc::new(NoTransport)).expect("starts");
    (node, machine)
}

async fn until(node: &RaftNode, state: impl FnMut(&Status) -> bool) -> Status {
    node.watch().wait_for(state).await.expect("lives").clone()
}

async fn propose(node: &RaftNode, number: u64) -> Result<u64, RaftError> {
    node.propose(number.to_be_bytes().to_vec()).await.expect("answered")
}

#[tokio::test]
async fn leads_at_once_and_survives_restarts() {
    let dir = tempfile::tempdir().expect("a directory");
    let begun = std::time::Instant::now();
    for round in 0..3 {
        let (node, machine) = start(dir.path(), |_| {});
        until(&node, |status| status.serving).await;
        assert!(begun.elapsed().as_millis() < 900 * (round + 1), "waits for no election timeout");
        assert_eq!(
            machine.applied(),
            (0..u64::try_from(round).expect("small") * 10).collect::<Vec<_>>()
        );
        for number in
            machine.applied().len() as u64..(u64::try_from(round).expect("small") + 1) * 10
        {
            propose(&node, number).await.expect("committed");
        }
        let index = node.read_index().await.expect("answered").expect("confirmed");
        assert!(index <= node.status().applied);
        node.shutdown();
        assert!(node.status().stopped);
        assert!(matches!(node.propose(vec![]).await, Err(_) | Ok(Err(RaftError::Stopped))));
    }
}

#[tokio::test]
async fn submissions_come_back_with_their_tickets_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (node, machine) = start(dir.path(), |_| {});
    until(&node, |status| status.serving).await;
    for ticket in 0..500u64 {
        node.submit(ticket.to_be_bytes().to_vec(), ticket).expect("queued");
    }
    propose(&node, 500).await.expect("committed");
    assert_eq!(machine.applied(), (0..=500).collect::<Vec<_>>());
    node.shutdown();
    let news = machine.news.lock().expect("not poisoned").clone();
    assert_eq!(news[0], "1: Added { id: 7, context: [109, 101] }");
    assert_eq!(news[1], "Gained { index: 2 }");
    assert_eq!(news[2..502], (0..500).map(|ticket| format!("own {ticket}")).collect::<Vec<_>>());
    assert_eq!(news[502..], ["Lost"]);
}

#[tokio::test]
async fn compaction_keeps_the_state_and_bounds_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let compacting =
        |config: &mut RaftConfig| (config.snapshot_entries, config.keep_entries) = (50, 10);
    let (node, _) = start(dir.path(), compacting);
    until(&node, |status| status.serving).await;
    for number in 0..333 {
        propose(&node, number).await.expect("committed");
    }
    let index = node.snapshot().await.expect("answered").expect("taken");
    // Progress alone wakes no watcher.
    let compacted = async {
        while node.status().last >= node.status().first + 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), compacted).await.expect("compacted");
    assert_eq!(index, node.status().applied);
    node.shutdown();

    let (node, machine) = start(dir.path(), compacting);
    until(&node, |status| status.serving).await;
    assert_eq!(machine.applied(), (0..333).collect::<Vec<_>>());
    assert_eq!(node.status().voters, [7]);
    let index = node.snapshot().await.expect("answered").expect("taken");
    assert_eq!(index, node.status().applied);
    node.shutdown();
}

#[tokio::test]
async fn entries_are_committed_while_a_snapshot_is_being_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let (node, machine) = start(dir.path(), |config| config.keep_entries = 3);
    until(&node, |status| status.serving).await;
    let captured = propose(&node, 0).await.expect("committed");
    machine.gate.set(true);
    let (first, second) = (node.snapshot(), node.snapshot());
    for number in 1..100 {
        propose(&node, number).await.expect("committed");
    }
    let third = node.snapshot();
    machine.gate.set(false);
    for snapshot in [first, second] {
        let index = snapshot.await.expect("answered").expect("taken");
        // The first proposal behind it may have reached the thread in the same batch.
        assert!((captured..=captured + 1).contains(&index), "{index} for {captured}");
    }
    assert_eq!(third.await.expect("answered").expect("taken"), captured + 99);
    node.shutdown();
    let (node, machine) = start(dir.path(), |_| {});
    until(&node, |status| status.serving).await;
    assert_eq!(machine.applied(), (0..100).collect::<Vec<_>>());
    assert_eq!(node.status().voters, [7]);
    node.shutdown();
}

/// The directory is away while the snapshot would be written.
#[tokio::test]
async fn a_snapshot_that_fails_stops_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (node, machine) = start(dir.path(), |_| {});
    until(&node, |status| status.serving).await;
    propose(&node, 0).await.expect("committed");
    machine.gate.set(true);
    let failing = node.snapshot();
    propose(&node, 1).await.expect("committed");
    let elsewhere = dir.path().with_extension("moved");
    std::fs::rename(dir.path(), &elsewhere).expect("moves");
    machine.gate.set(false);
    assert!(matches!(failing.await, Ok(Err(RaftError::SnapshotFailed))));
    std::fs::rename(&elsewhere, dir.path()).expect("moves back");
    propose(&node, 2).await.expect("committed");
    let index = node.snapshot().await.expect("answered").expect("taken");
    assert_eq!(index, node.status().applied);
    node.shutdown();
}

#[tokio::test]
async fn one_directory_serves_one_member() {
    let dir = tempfile::tempdir().expect("a directory");
    let (node, _) = start(dir.path(), |_| {});
    let second = RaftNode::start(
        RaftConfig::new(7, dir.path()),
        Box::new(Numbers::default()),
        Arc::new(NoTransport),
    );
    assert!(matches!(second, Err(RaftError::Log(_))), "the file is locked");
    node.shutdown();
}

#[tokio::test]
async fn a_member_that_had_a_log_does_not_begin_a_new_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let go_on = || {
        let config = RaftConfig::new(7, dir.path()).founding(Vec::new()).going_on();
        RaftNode::start(config, Box::new(Numbers::default()), Arc::new(NoTransport))
    };
    let refused = go_on().err();
    assert!(matches!(refused, Some(RaftError::Log(LogError::Missing { .. }))), "{refused:?}");
    let (node, _) = start(dir.path(), |_| {});
    node.shutdown();
    go_on().expect("what is there is used").shutdown();
}

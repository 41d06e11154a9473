//! Measures proposals on a group of one: `cargo run -p swarm-raft --example latency [DIRECTORY]`.
//! Figures are in docs/decisions/0001-log-storage.md.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::sync::Arc;
use std::time::Instant;

use swarm_raft::{
    Capture, Committed, Leadership, MachineError, MemberChange, Outgoing, RaftConfig, RaftNode,
    StateMachine, Transport,
};

struct Nothing;

impl Transport for Nothing {
    fn send(&self, _messages: Vec<Outgoing>) {}
}

impl StateMachine for Nothing {
    fn apply(&mut self, _entry: Committed<'_>) -> Result<(), MachineError> {
        Ok(())
    }
    fn membership(&mut self, _index: u64, _change: MemberChange) {}
    fn leadership(&mut self, _leadership: Leadership) {}
    fn snapshot(&mut self) -> Capture {
        Box::new(Vec::new)
    }
    fn restore(&mut self, _body: &[u8]) -> Result<(), MachineError> {
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::tempdir_in(base).expect("a directory to measure in");
    let config = RaftConfig::new(1, dir.path()).founding(Vec::new());
    let node = RaftNode::start(config, Box::new(Nothing), Arc::new(Nothing)).expect("starts");
    node.watch().wait_for(|status| status.serving).await.expect("lives");
    for clients in [1u32, 16, 64, 256] {
        let rounds = 16_000 / clients.max(8);
        let begun = Instant::now();
        let tasks: Vec<_> =
            (0..clients).map(|_| tokio::spawn(client(node.clone(), rounds))).collect();
        for task in tasks {
            task.await.expect("ends");
        }
        let (total, count) = (begun.elapsed(), f64::from(clients * rounds));
        let mean = total * clients / (clients * rounds);
        println!(
            "{clients} outstanding: {:.0} proposals/s, {mean:?} each",
            count / total.as_secs_f64()
        );
    }
    node.shutdown();
}

async fn client(node: RaftNode, rounds: u32) {
    for _ in 0..rounds {
        node.propose(vec![7; 512]).await.expect("answered").expect("committed");
    }
}

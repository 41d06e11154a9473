//! kill -9 at random moments: whatever a member acknowledged is there when it comes back.
//!
//! The test runs its own executable as the member; the child writes each acknowledged index to a pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use prost::Message as _;
use swarm_proto::v1::{Node, Service};
use swarm_raft::{Members, Outgoing, RaftConfig, RaftNode, RaftProposer, StoreMachine, Transport};
use swarm_store::{Error, Store};

const DIRECTORY: &str = "SWARM_RAFT_CRASH_DIRECTORY";

struct NoTransport;

impl Transport for NoTransport {
    fn send(&self, messages: Vec<Outgoing>) {
        assert!(messages.is_empty(), "a member that is alone sends nothing");
    }
}

fn start(dir: &Path) -> (Store, RaftNode, Members) {
    let proposer = Arc::new(RaftProposer::default());
    let store = Store::new(proposer.clone());
    let members = Members::default();
    let me = swarm_proto::v1::RaftMember { raft_id: 3, node_id: "me".into(), ..Default::default() };
    let mut config = RaftConfig::new(3, dir).founding(me.encode_to_vec());
    (config.snapshot_entries, config.keep_entries) = (40, 5);
    let machine = Box::new(StoreMachine::new(store.clone(), members.clone()));
    let node = RaftNode::start(config, machine, Arc::new(NoTransport)).expect("starts");
    proposer.attach(node.clone());
    (store, node, members)
}

async fn serving(node: &RaftNode) {
    node.watch().wait_for(|status| status.serving).await.expect("lives");
}

async fn create(store: &Store, number: u64) -> Result<(), Error> {
    let service = Service { id: format!("service{number:06}"), ..Service::default() };
    store.update(|transaction| transaction.create(service)).await
}

/// Not a test of its own: what the child runs.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let (store, node, _) = start(Path::new(&dir));
    serving(&node).await;
    let mut number = store.view().len::<Service>() as u64;
    loop {
        create(&store, number).await.expect("committed");
        let mut out = std::io::stdout();
        writeln!(out, "acknowledged {number}")
            .and_then(|()| out.flush())
            .expect("the parent reads");
        number += 1;
    }
}

#[tokio::test]
async fn kill_nine_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut acknowledged = 0;
    for lines in [1, 33, 7, 90, 250, 12, 61, 3] {
        let mut child = Command::new(std::env::current_exe().expect("is known"))
            .args(["child", "--exact", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let told =
            BufReader::new(child.stdout.take().expect("is piped")).lines().map_while(Result::ok);
        let mut numbers =
            told.filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<u64>().ok());
        let last = numbers.by_ref().nth(lines - 1).expect("acknowledges");
        child.kill().expect("is killed");
        // What it still told before it died counts too.
        acknowledged = numbers.last().unwrap_or(last) + 1;
        child.wait().expect("is gone");

        let (store, node, members) = start(dir.path());
        serving(&node).await;
        let found = store.view().len::<Service>() as u64;
        assert!(found >= acknowledged, "{acknowledged} acknowledged, {found} found");
        assert!(found <= acknowledged + 1, "one more was on its way at most");
        assert_eq!(members.get(3).map(|member| member.node_id), Some("me".to_owned()));
        node.shutdown();
    }
    assert!(acknowledged > 400);
}

#[tokio::test]
async fn the_store_commits_through_the_log_and_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, node, _) = start(dir.path());
    serving(&node).await;
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    create(&store, client * 1000 + number).await.expect("committed");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("ends");
    }
    let begun = Mutex::new(store.view());
    node.shutdown();
    assert!(matches!(
        create(&store, 1_000_000).await,
        Err(Error::NotLeader | Error::LeadershipLost | Error::Log(_))
    ));

    let (store, node, _) = start(dir.path());
    serving(&node).await;
    let before = begun.lock().expect("not poisoned").clone();
    let after = store.view();
    assert_eq!(after.len::<Service>(), 64 * 20);
    assert!(
        before
            .iter::<Service>()
            .zip(after.iter::<Service>())
            .all(|(before, after)| before == after)
    );
    assert!(after.is_empty::<Node>());
    assert!(after.version() >= before.version(), "no version is used twice");
    node.shutdown();
}

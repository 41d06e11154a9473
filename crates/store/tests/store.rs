//! The store as its users see it: transactions, watches, the feed, and what losing leadership does.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use swarm_proto::v1::{Annotations, Service, ServiceSpec, Task};
use swarm_store::{
    Change, Error, ImmediateProposer, Kind, Object, Proposal, ProposeError, Proposer, Store, Tables,
};

fn service(id: &str, name: &str) -> Service {
    let annotations = Annotations { name: name.into(), ..Annotations::default() };
    Service {
        id: id.into(),
        spec: Some(ServiceSpec { annotations: Some(annotations), ..ServiceSpec::default() }),
        ..Service::default()
    }
}

fn task(id: &str, service: &str, slot: u64, node: &str) -> Task {
    Task {
        id: id.into(),
        service_id: service.into(),
        slot,
        node_id: node.into(),
        ..Task::default()
    }
}

async fn create<T: Object>(store: &Store, object: T) -> Result<(), Error> {
    store.update(|tx| tx.create(object)).await
}

#[tokio::test]
async fn refuses_what_contradicts_and_changes_nothing() {
    let store = ImmediateProposer::store();
    create(&store, service("1", "Web")).await.expect("a first service");
    let before = store.view().version();
    let stale = Service { meta: None, ..service("1", "web") };
    let cases: [(&str, Result<(), Error>); 4] = [
        ("object already exists", create(&store, service("1", "other")).await),
        ("name conflicts with an existing object", create(&store, service("2", "WEB")).await),
        ("update out of sequence", store.update(|tx| tx.update(stale)).await),
        ("object does not exist", store.update(|tx| tx.delete::<Service>("9")).await),
    ];
    for (expect, result) in cases {
        assert_eq!(result.expect_err(expect).to_string(), expect);
    }
    assert_eq!(store.view().version(), before);
}

#[tokio::test]
async fn versions_grow_with_every_write_deletions_included() {
    let store = ImmediateProposer::store();
    create(&store, service("1", "a")).await.expect("created");
    let first = store.view().get::<Service>("1").expect("there").version();
    store.update(|tx| tx.delete::<Service>("1")).await.expect("deleted");
    create(&store, service("2", "a")).await.expect("the name is free again");
    let second = store.view().get::<Service>("2").expect("there").version();
    assert!(second > first + 1, "{second} after {first} and a deletion");
}

#[tokio::test]
async fn a_renamed_object_is_found_by_its_new_name_only() {
    let store = ImmediateProposer::store();
    create(&store, service("1", "old")).await.expect("created");
    let mut renamed = Service::clone(store.view().get::<Service>("1").expect("there"));
    renamed.spec = service("1", "new").spec;
    store.update(|tx| tx.update::<Service>(renamed)).await.expect("updated");
    let tables = store.view();
    assert!(tables.by_name::<Service>("OLD").is_none());
    assert_eq!(tables.by_name::<Service>("NEW").map(|found| found.id.as_str()), Some("1"));
}

#[test]
fn task_indexes_follow_the_tasks() {
    let mut tables = Tables::default();
    for task in [task("a", "s", 1, "n1"), task("b", "s", 2, ""), task("c", "t", 1, "n1")] {
        tables.create(task).expect("created");
    }
    let ids = |tasks: Vec<&Arc<Task>>| tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(tables.tasks_by_service("s").collect()), ["a", "b"]);
    assert_eq!(ids(tables.tasks_by_slot("s", 2).collect()), ["b"]);
    assert_eq!(ids(tables.tasks_by_node("n1").collect()), ["a", "c"]);
    let before = tables.clone();
    tables.update(task("b", "s", 2, "n1")).expect("updated");
    tables.delete::<Task>("a").expect("deleted");
    assert_eq!(ids(tables.tasks_by_node("n1").collect()), ["b", "c"]);
    assert_eq!(ids(tables.tasks_by_service("s").collect()), ["b"]);
    assert_eq!(ids(before.tasks_by_node("n1").collect()), ["a", "c"], "a clone stays as it was");
}

#[tokio::test]
async fn watchers_see_commits_in_order_with_their_tables() {
    let store = ImmediateProposer::store();
    let mut watch = store.watch(Kind::ALL);
    create(&store, service("1", "a")).await.expect("created");
    store.update(|tx| tx.delete::<Service>("1")).await.expect("deleted");
    let first = watch.next().await;
    assert!(matches!(&first.changes[..], [Change::Service(delta)] if delta.old.is_none()));
    assert_eq!(first.tables.len::<Service>(), 1);
    let second = watch.next().await;
    assert!(matches!(&second.changes[..], [Change::Service(delta)] if delta.new.is_none()));
    assert_eq!(second.tables.len::<Service>(), 0);
}

#[tokio::test]
async fn a_replica_and_a_snapshot_come_to_the_same_state() {
    let bodies = Arc::new(Recorder::default());
    let leader = Store::new(bodies.clone());
    leader.became_leader(7);
    let mut commits = Vec::new();
    for (id, name) in [("1", "a"), ("2", "b")] {
        let (_, commit) = leader.propose(|tx| tx.create(service(id, name))).expect("proposed");
        commits.push(commit.expect("something changed"));
    }
    leader.propose(|tx| tx.delete::<Service>("1")).expect("proposed");
    assert_eq!(leader.view().len::<Service>(), 0, "nothing is committed yet");
    let replica = ImmediateProposer::store();
    for proposal in bodies.take() {
        leader.committed(proposal.ticket);
        replica.apply(&proposal.body).expect("a log entry");
    }
    for commit in commits {
        assert_eq!(commit.await, Ok(Ok(())));
    }
    let restored = ImmediateProposer::store();
    restored.restore(leader.view().to_snapshot());
    for other in [&replica, &restored] {
        assert_eq!(other.view().to_snapshot(), leader.view().to_snapshot());
    }
    assert_eq!(replica.view().version(), leader.view().version());
    assert!(replica.apply(b"\xff").is_err());
}

#[tokio::test]
async fn lost_leadership_drops_what_is_not_committed() {
    let store = Store::new(Arc::new(Recorder::default()));
    store.became_leader(1);
    let (_, commit) = store.propose(|tx| tx.create(service("1", "a"))).expect("proposed");
    store.lost_leadership();
    assert_eq!(commit.expect("something changed").await, Ok(Err(Error::LeadershipLost)));
    assert_eq!(create(&store, service("2", "b")).await, Err(Error::NotLeader));
    store.became_leader(2);
    let seen = store.propose(|tx| Ok::<_, Error>(tx.len::<Service>())).expect("a reader").0;
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn the_feed_tells_others_changes_once() {
    let store = ImmediateProposer::store();
    store.attach_feed();
    let drain = |store: &Store| {
        let drained = store.propose(|tx| {
            let batch = tx.drain_feed();
            tx.create(task(&format!("own{}", tx.version()), "s", 1, ""))?;
            Ok::<_, Error>((batch.resync, batch.changes.len()))
        });
        drained.expect("a cycle").0
    };
    assert_eq!(drain(&store), (true, 0));
    assert_eq!(drain(&store), (false, 0), "its own changes do not come back");
    create(&store, service("1", "a")).await.expect("created");
    assert_eq!(drain(&store), (false, 1));
}

/// A log that takes everything and commits nothing by itself.
#[derive(Default)]
struct Recorder(Mutex<Vec<Proposal>>);

impl Recorder {
    fn take(&self) -> Vec<Proposal> {
        std::mem::take(&mut self.0.lock().expect("no panic holds it"))
    }
}

impl Proposer for Recorder {
    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        self.0.lock().expect("no panic holds it").push(proposal);
        Ok(())
    }
}

#[tokio::test]
async fn a_watcher_sleeps_through_commits_of_other_tables() {
    let store = ImmediateProposer::store();
    let mut watch = store.watch(&[Kind::Task]);
    create(&store, service("1", "a")).await.expect("created");
    assert!(watch.next().now_or_never().is_none(), "a service is no concern of his");
    create(&store, task("t", "1", 1, "n")).await.expect("created");
    let commit = watch.next().await;
    assert!(matches!(&commit.changes[..], [Change::Task(_)]));
    assert_eq!(commit.tables.len::<Service>(), 1, "the tables are whole");
    assert!(watch.next().now_or_never().is_none());
    store.restore(store.view().to_snapshot());
    assert!(watch.next().await.resync, "a snapshot concerns everyone");
}

#[tokio::test]
async fn a_watcher_who_falls_far_behind_starts_anew() {
    let store = ImmediateProposer::store();
    let mut watch = store.watch(&[Kind::Service]);
    for id in 0..5000 {
        create(&store, service(&id.to_string(), &format!("s{id}"))).await.expect("created");
    }
    let commit = watch.next().await;
    assert!(commit.resync && commit.changes.is_empty());
    assert_eq!(commit.tables.len::<Service>(), 5000);
    assert!(watch.next().now_or_never().is_none(), "nothing is told twice");
    create(&store, service("5000", "one more")).await.expect("created");
    assert!(!watch.next().await.resync);
}

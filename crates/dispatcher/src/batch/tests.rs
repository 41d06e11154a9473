//! Tables of statuses against stored ones.

use swarm_store::ImmediateProposer;

use super::*;

fn status(state: TaskState, message: &str) -> TaskStatus {
    TaskStatus { state: state as i32, message: message.into(), ..TaskStatus::default() }
}

async fn store_with_task(state: TaskState) -> swarm_store::Store {
    let store = ImmediateProposer::store();
    let task = Task {
        id: "t".into(),
        node_id: "n".into(),
        status: Some(status(state, "old")),
        ..Task::default()
    };
    store.update(|tx| tx.create(task)).await.expect("created");
    store
        .update(|tx| tx.create(Node { id: "n".into(), ..Node::default() }))
        .await
        .expect("created");
    store
}

fn stored(store: &swarm_store::Store) -> TaskStatus {
    store.view().get::<Task>("t").and_then(|task| task.status.clone()).expect("a status")
}

#[tokio::test]
async fn task_states_only_move_forward() {
    use TaskState::{Assigned, Failed, Running, Starting};
    for (old, reports, expect) in [
        (Assigned, vec![(Starting, "a"), (Running, "b")], (Running, "b")),
        (Assigned, vec![(Running, "b"), (Starting, "a")], (Running, "b")),
        (Running, vec![(Starting, "a")], (Running, "old")),
        (Running, vec![(Running, "new")], (Running, "new")),
        (Failed, vec![(Running, "late")], (Failed, "old")),
    ] {
        let store = store_with_task(old).await;
        let mut batch = Batch::default();
        for (state, message) in &reports {
            batch.report_task("t".into(), status(*state, message));
        }
        batch.report_task("gone".into(), status(Running, ""));
        store.update(|tx| batch.apply(tx, "m")).await.expect("applied");
        let got = stored(&store);
        assert_eq!(
            (got.state, got.message.as_str()),
            (expect.0 as i32, expect.1),
            "{old:?} {reports:?}"
        );
        let was_written = expect.1 != "old";
        assert_eq!((got.applied_by == "m", got.applied_at.is_some()), (was_written, was_written));
    }
}

#[tokio::test]
async fn what_is_known_already_is_not_written_again() {
    let store = store_with_task(TaskState::Running).await;
    let apply = async |message: &str| {
        let mut batch = Batch::default();
        batch.report_task("t".into(), status(TaskState::Running, message));
        let ready = NodeUpdate {
            state: State::Ready,
            message: String::new(),
            addr: None,
            description: None,
            is_swift: None,
        };
        batch.set_node("n".into(), ready);
        store.update(|tx| batch.apply(tx, "m")).await.expect("applied");
        store.view().version()
    };
    let version = apply("new").await;
    assert_eq!(apply("new").await, version);
    assert_eq!(apply("newer").await, version + 1);
}

#[tokio::test]
async fn a_down_node_keeps_its_description_and_loses_unfinished_tasks_when_orphaned() {
    let store = store_with_task(TaskState::Running).await;
    let finished = Task {
        id: "f".into(),
        node_id: "n".into(),
        status: Some(status(TaskState::Failed, "")),
        ..Task::default()
    };
    store.update(|tx| tx.create(finished)).await.expect("created");
    let mut batch = Batch::default();
    let description = Some(NodeDescription { hostname: "h".into(), ..NodeDescription::default() });
    let addr = Some("10.0.0.1".to_owned());
    batch.set_node(
        "n".into(),
        NodeUpdate {
            state: State::Ready,
            message: String::new(),
            addr,
            description,
            is_swift: Some(true),
        },
    );
    let down = NodeUpdate {
        state: State::Down,
        message: "heartbeat failure".into(),
        addr: None,
        description: None,
        is_swift: None,
    };
    batch.set_node("n".into(), down);
    batch.orphan_tasks("n".into());
    store.update(|tx| batch.apply(tx, "m")).await.expect("applied");
    let tables = store.view();
    let node = tables.get::<Node>("n").expect("there");
    let node_status = node.status.clone().expect("a status");
    assert_eq!(node_status.state, State::Down as i32);
    assert_eq!(
        (node_status.message.as_str(), node_status.addr.as_str()),
        ("heartbeat failure", "10.0.0.1")
    );
    assert_eq!(node.description.as_ref().map(|d| d.hostname.as_str()), Some("h"));
    assert_eq!(stored(&store).state, TaskState::Orphaned as i32);
    assert_eq!(tables.get::<Task>("f").map(|task| state(task)), Some(TaskState::Failed as i32));
}

#[test]
fn take_limits_task_statuses() {
    let mut batch = Batch::default();
    for i in 0..5 {
        batch.report_task(format!("t{i}"), status(TaskState::Running, ""));
    }
    let counts: Vec<usize> =
        std::iter::from_fn(|| (!batch.is_empty()).then(|| batch.take(2).tasks.len())).collect();
    assert_eq!(counts, [2, 2, 1]);
}

#[tokio::test]
async fn large_tasks_take_several_transactions() {
    let store = store_with_task(TaskState::Running).await;
    let large = |n: usize| Task {
        id: format!("large{n}"),
        node_id: "n".into(),
        service_id: "x".repeat(600 << 10),
        status: Some(status(TaskState::Assigned, "")),
        ..Task::default()
    };
    for n in 0..6 {
        store.update(|tx| tx.create(large(n))).await.expect("created");
    }
    let mut batch = Batch::default();
    for n in 0..5 {
        batch.report_task(format!("large{n}"), status(TaskState::Running, ""));
    }
    batch.orphan_tasks("n".into());
    let mut transactions = 0;
    while !batch.is_empty() {
        batch = store.update(|tx| batch.apply(tx, "m")).await.expect("applied");
        transactions += 1;
    }
    let tables = store.view();
    let lost =
        tables.tasks_by_node("n").filter(|task| state(task) == TaskState::Orphaned as i32).count();
    assert!(transactions > 3, "{transactions}");
    assert_eq!(lost, tables.tasks_by_node("n").count());
}

#[tokio::test]
async fn notes_since_when_a_node_is_down() {
    let store = store_with_task(TaskState::Running).await;
    let set = async |state: State, message: &str| {
        let update = NodeUpdate {
            state,
            message: message.into(),
            addr: None,
            description: None,
            is_swift: None,
        };
        let mut batch = Batch::default();
        batch.set_node("n".into(), update);
        store.update(|tx| batch.apply(tx, "m")).await.expect("applied");
        let node = store.view().get::<Node>("n").cloned().expect("there");
        node.status.as_ref().and_then(|status| status.down_since)
    };
    assert_eq!(set(State::Ready, "").await, None);
    let since = set(State::Down, "heartbeat failure").await;
    assert!(since.is_some());
    // Said again by the next leader, it is still the same.
    assert_eq!(set(State::Down, "again").await, since);
    assert_eq!(set(State::Ready, "").await, None);
}

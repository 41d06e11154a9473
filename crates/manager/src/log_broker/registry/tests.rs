//! Tables of selections and outcomes.

use swarm_proto::v1::{LogSelector, LogSubscriptionOptions, TaskStatus};

use super::*;

const WARNING: &str =
    "warning: incomplete log stream. some logs could not be retrieved for the following reasons: ";

fn task(id: &str, service_id: &str, node_id: &str, state: TaskState) -> Task {
    Task {
        id: id.into(),
        service_id: service_id.into(),
        node_id: node_id.into(),
        status: Some(TaskStatus { state: state as i32, ..TaskStatus::default() }),
        ..Task::default()
    }
}

/// Service `s`: t1 runs on n1, t2 failed on n2, t3 is being prepared on n3, t4 waits for a node.
fn tables() -> Tables {
    let mut tables = Tables::default();
    for task in [
        task("t1", "s", "n1", TaskState::Running),
        task("t2", "s", "n2", TaskState::Failed),
        task("t3", "s", "n3", TaskState::Preparing),
        task("t4", "s", "", TaskState::Pending),
        task("u1", "u", "n4", TaskState::Running),
    ] {
        tables.create(task).expect("created");
    }
    tables
}

fn message(selector: LogSelector, follow: bool) -> SubscriptionMessage {
    let options = Some(LogSubscriptionOptions { follow, ..LogSubscriptionOptions::default() });
    SubscriptionMessage { id: "sub".into(), selector: Some(selector), options, close: false }
}

fn service(id: &str) -> LogSelector {
    LogSelector { service_ids: vec![id.into()], ..LogSelector::default() }
}

fn with_listeners(nodes: &[&str]) -> Registry {
    let mut registry = Registry::default();
    for (listener, node) in nodes.iter().enumerate() {
        registry.connect(node, listener as ListenerId);
    }
    registry
}

fn told(registry: &Registry) -> Vec<&'static str> {
    ["n1", "n2", "n3", "n4", "n5"]
        .into_iter()
        .filter(|node| !registry.for_node(node).is_empty())
        .collect()
}

#[test]
fn selects_the_nodes_of_tasks() {
    let tasks = |ids: &[&str]| LogSelector {
        task_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..LogSelector::default()
    };
    let nodes = LogSelector { node_ids: vec!["n4".into()], ..LogSelector::default() };
    for (selector, follow, expect) in [
        (service("s"), false, vec!["n1", "n2"]),
        (service("s"), true, vec!["n1", "n2", "n3"]),
        (service("none"), false, vec![]),
        (tasks(&["t1", "t3", "none"]), false, vec!["n1", "n3"]),
        (nodes, false, vec!["n4"]),
    ] {
        let mut registry = with_listeners(&["n1", "n2", "n3", "n4"]);
        registry.subscribe(message(selector.clone(), follow), &tables());
        assert_eq!(told(&registry), expect, "{selector:?} {follow}");
    }
}

#[test]
fn ends_when_all_nodes_are_done() {
    let mut registry = with_listeners(&["n1", "n2"]);
    registry.subscribe(message(service("s"), false), &tables());
    registry.done("sub", "n1", None);
    assert_eq!((registry.outcome("sub"), told(&registry)), (None, vec!["n2"]));
    registry.done("sub", "n2", None);
    assert_eq!(registry.outcome("sub"), Some(Ok(())));
    registry.unsubscribe("sub");
    assert_eq!(registry.outcome("sub"), None);
}

#[test]
fn says_what_is_missing_and_waits_for_nobody_who_is_gone() {
    let missing = |reasons: &str| Some(Err(format!("{WARNING}{reasons}")));
    let mut registry = with_listeners(&["n2"]);
    registry.subscribe(message(service("s"), false), &tables());
    registry.lose("n2");
    let reasons = "node n1 is not available, node n2 disconnected unexpectedly";
    assert_eq!(registry.outcome("sub"), missing(reasons));

    let mut registry = Registry::default();
    let selector = LogSelector { task_ids: vec!["t4".into()], ..LogSelector::default() };
    registry.subscribe(message(selector, false), &tables());
    assert_eq!(registry.outcome("sub"), missing("task t4 has not been scheduled"));
}

#[test]
fn an_old_streams_end_does_not_count() {
    let mut registry = with_listeners(&["n1", "n2"]);
    registry.subscribe(message(service("s"), false), &tables());
    registry.connect("n1", 9);
    registry.disconnect("n1", 0);
    assert_eq!(told(&registry), ["n1", "n2"]);
    registry.disconnect("n1", 9);
    assert_eq!(told(&registry), ["n2"]);
}

#[test]
fn following_adds_nodes_and_never_ends() {
    let mut registry = with_listeners(&["n1", "n2", "n3"]);
    registry.subscribe(message(service("s"), true), &tables());
    for (task, is_news) in [
        (task("t4", "s", "n5", TaskState::Assigned), true),
        (task("t4", "s", "n5", TaskState::Running), false),
        (task("u2", "u", "n4", TaskState::Running), false),
    ] {
        assert_eq!(registry.observe_task(&task), is_news, "{task:?}");
    }
    assert_eq!(told(&registry), ["n1", "n2", "n3", "n5"]);
    for node in ["n1", "n2", "n3", "n5"] {
        registry.done("sub", node, None);
    }
    registry.lose("n1");
    assert_eq!(registry.outcome("sub"), None);
    // A node that comes back serves it again.
    assert_eq!(told(&registry), ["n1", "n2", "n3", "n5"]);
}

/// A stream that follows goes on; each node that is lost is told once, with a task whose lines are missing.
#[test]
fn who_follows_is_told_of_gaps() {
    let mut registry = with_listeners(&["n1", "n2"]);
    registry.subscribe(message(service("s"), true), &tables());
    let gap = |node_id: &str, task_id: &str, reason: &str| Gap {
        node_id: node_id.into(),
        source: Source { service_id: "s".into(), task_id: task_id.into() },
        reason: reason.into(),
    };
    assert_eq!(registry.take_gaps("sub"), [gap("n3", "t3", "node n3 is not available")]);
    assert_eq!(registry.take_gaps("sub"), []);
    registry.lose("n1");
    registry.lose("n1");
    registry.lose("n9");
    assert_eq!(registry.take_gaps("sub"), [gap("n1", "t1", "node n1 disconnected unexpectedly")]);
    registry.done("sub", "n1", Some("connection reset".into()));
    assert_eq!(registry.take_gaps("sub"), [], "told already");
    registry.connect("n1", 7);
    registry.done("sub", "n1", Some("connection reset".into()));
    assert_eq!(registry.take_gaps("sub"), [gap("n1", "t1", "node n1 disconnected unexpectedly")]);
    assert_eq!(registry.outcome("sub"), None);
    let mut registry = with_listeners(&["n1"]);
    registry.subscribe(message(service("s"), false), &tables());
    assert_eq!(registry.take_gaps("sub"), [], "who does not follow is told at the end");
}

//! Tables of states and the changes that follow.

use swarm_proto::v1::{
    ConfigReference, ContainerSpec, SecretReference, SecretSpec, TaskSpec, TaskStatus, VolumeInfo,
    VolumeSecret, VolumeSpec,
};

use super::*;

fn task(id: &str, node: &str, state: TaskState, secrets: &[&str], configs: &[&str]) -> Task {
    let secrets = secrets
        .iter()
        .map(|id| SecretReference { secret_id: (*id).into(), ..Default::default() })
        .collect();
    let configs = configs
        .iter()
        .map(|id| ConfigReference { config_id: (*id).into(), ..Default::default() })
        .collect();
    let container = ContainerSpec { secrets, configs, ..Default::default() };
    let spec =
        TaskSpec { runtime: Some(task_spec::Runtime::Container(container)), ..Default::default() };
    Task {
        id: id.into(),
        node_id: node.into(),
        status: Some(TaskStatus { state: state as i32, ..Default::default() }),
        spec: Some(spec.into()),
        ..Default::default()
    }
}

fn tables() -> Tables {
    let mut tables = Tables::default();
    for id in ["s1", "s2", "s3"] {
        let spec = Some(SecretSpec { data: vec![1], ..Default::default() });
        tables.create(Secret { id: id.into(), spec, ..Default::default() }).expect("created");
    }
    tables.create(Config { id: "c1".into(), ..Default::default() }).expect("created");
    tables
}

fn put(tables: &mut Tables, task: Task) {
    if tables.get::<Task>(&task.id).is_some() {
        tables.update(task).expect("updated");
    } else {
        tables.create(task).expect("created");
    }
}

fn with_status(tables: &mut Tables, id: &str, state: TaskState) {
    let mut task = Task::clone(tables.get::<Task>(id).expect("there"));
    task.status = Some(TaskStatus { state: state as i32, ..Default::default() });
    put(tables, task);
}

/// `+task t1`, `-secret s1` for every change.
fn trace(changes: &[AssignmentChange]) -> Vec<String> {
    let line = |change: &AssignmentChange| {
        let sign = if change.action == AssignmentAction::Update as i32 { '+' } else { '-' };
        match change.assignment.clone().and_then(|a| a.item).expect("an item") {
            Item::Task(task) => format!("{sign}task {}", task.id),
            Item::Secret(secret) => {
                format!(
                    "{sign}secret {}{}",
                    secret.id,
                    if secret.spec.is_some() { "" } else { " bare" }
                )
            }
            Item::Config(config) => format!("{sign}config {}", config.id),
            Item::Volume(volume) => format!("{sign}volume {}={}", volume.id, volume.volume_id),
        }
    };
    changes.iter().map(line).collect()
}

#[test]
fn follows_the_tables() {
    use TaskState::{Assigned, Complete, Pending, Preparing, Running};
    let mut tables = tables();
    let mut set = AssignmentSet::new("n");
    let mut step =
        |tables: &Tables, expect: &[&str]| assert_eq!(trace(&set.reconcile(tables)), expect);

    put(&mut tables, task("other", "m", Assigned, &["s3"], &[]));
    put(&mut tables, task("early", "n", Pending, &["s3"], &[]));
    step(&tables, &[]);

    put(&mut tables, task("t1", "n", Assigned, &["s1", "s1"], &["c1"]));
    put(&mut tables, task("t2", "n", Assigned, &["s1", "s2", "missing"], &[]));
    step(&tables, &["+secret s1", "+secret s2", "+config c1", "+task t1", "+task t2"]);
    step(&tables, &[]);

    // What the agent reported itself is no news to it; up to ASSIGNED every change is.
    with_status(&mut tables, "t1", Preparing);
    with_status(&mut tables, "t2", Assigned);
    step(&tables, &["+task t2"]);
    with_status(&mut tables, "t1", Running);
    with_status(&mut tables, "t2", Running);
    step(&tables, &[]);

    let mut stopped = Task::clone(tables.get::<Task>("t1").expect("there"));
    stopped.desired_state = TaskState::Shutdown as i32;
    put(&mut tables, stopped);
    step(&tables, &["+task t1"]);

    // A finished task needs no secrets any more; s1 is still needed by the other.
    with_status(&mut tables, "t1", Complete);
    step(&tables, &["-config c1"]);
    tables.delete::<Task>("t2").expect("deleted");
    step(&tables, &["-task t2", "-secret s1 bare", "-secret s2 bare"]);
    tables.delete::<Task>("t1").expect("deleted");
    step(&tables, &["-task t1"]);
}

#[test]
fn finished_tasks_are_named_without_their_secrets() {
    let mut tables = tables();
    put(&mut tables, task("t1", "n", TaskState::Failed, &["s1"], &[]));
    assert_eq!(trace(&AssignmentSet::new("n").reconcile(&tables)), ["+task t1"]);
}

#[test]
fn volumes_come_with_their_secrets_and_go_after_unpublishing() {
    let volume = |state: PublishState| Volume {
        id: "v".into(),
        spec: Some(VolumeSpec {
            secrets: vec![VolumeSecret { key: "k".into(), secret: "s1".into() }],
            ..Default::default()
        }),
        volume_info: Some(VolumeInfo { volume_id: "plugin".into(), ..Default::default() }),
        publish_status: vec![VolumePublishStatus {
            node_id: "n".into(),
            state: state as i32,
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut tables = tables();
    let mut set = AssignmentSet::new("n");
    tables.create(volume(PublishState::PendingPublish)).expect("created");
    for (state, expect) in [
        (PublishState::PendingPublish, vec![]),
        (PublishState::Published, vec!["+secret s1", "+volume v=plugin"]),
        (PublishState::Published, vec![]),
        (PublishState::PendingNodeUnpublish, vec!["-volume v=plugin"]),
        (PublishState::PendingUnpublish, vec!["-secret s1 bare"]),
    ] {
        tables.update(volume(state)).expect("updated");
        assert_eq!(trace(&set.reconcile(&tables)), expect, "{state:?}");
    }
}

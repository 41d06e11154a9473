//! Tasks that fail and nodes that go: who is replaced, when, how often, and what is remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_proto::timestamp::from_duration;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{
    GlobalService, Node, NodeDescription, Placement, ResourceRequirements, Resources,
    RestartPolicy, Task, TaskState,
};

use super::world::{World, is_running, set_image, state};

fn first(world: &World) -> String {
    let task = world.tables.iter::<Task>().find(|task| is_running(task));
    task.map(|task| task.id.clone()).expect("one runs")
}

fn policy(world: &mut World, policy: RestartPolicy) {
    world.update("s", |spec| spec.task.get_or_insert_default().restart = Some(policy));
    world.pass(60);
}

#[test]
fn a_task_that_failed_is_replaced_after_the_delay() {
    let mut world = World::new(2);
    world.replicated("s", 2);
    world.settle();
    let failed = first(&world);
    world.report(&failed, TaskState::Failed);
    world.settle();
    let ready =
        world.tables.iter::<Task>().filter(|task| state(task) == TaskState::Ready as i32).count();
    assert_eq!((world.running().len(), ready), (1, 1), "the replacement is ready and waits");
    world.pass(4);
    assert_eq!(world.running().into_values().sum::<usize>(), 1);
    world.pass(1);
    assert_eq!(world.running().into_values().sum::<usize>(), 2);
    let old = world.tables.get::<Task>(&failed).expect("kept as history");
    assert_eq!(old.desired_state, TaskState::Shutdown as i32);
}

#[test]
fn a_new_leader_keeps_to_the_delay() {
    let mut world = World::new(1);
    world.replicated("s", 1);
    world.settle();
    let failed = first(&world);
    world.report(&failed, TaskState::Failed);
    world.pass(2);
    world.new_leader();
    world.pass(2);
    assert_eq!(world.running().into_values().sum::<usize>(), 0);
    world.pass(5);
    assert_eq!(world.running().into_values().sum::<usize>(), 1);
}

#[test]
fn a_lost_node_is_replaced_at_once() {
    let mut world = World::new(3);
    world.replicated("s", 6);
    world.settle();
    world.down("swarm2");
    world.settle();
    let wanted = world.tables.iter::<Task>().filter(|task| is_running(task)).count();
    assert_eq!((wanted, world.running()), (6, BTreeMap::from([("swarm1", 3), ("swarm3", 3)])));

    world.delete::<Node>("swarm3");
    world.settle();
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 6)]));
}

/// The tasks that run, by identifier.
fn alive(world: &World) -> Vec<String> {
    let running = world.tables.iter::<Task>().filter(|task| is_running(task));
    running.map(|task| task.id.clone()).collect()
}

#[test]
fn what_was_not_replaced_goes_on_when_its_node_is_back() {
    let mut world = World::new(2);
    world.replicated("s", 4);
    world.service("g", Mode::Global(GlobalService::default()));
    world.settle();
    let before = alive(&world);
    world.down("swarm1");
    world.down("swarm2");
    world.settle();
    assert_eq!(world.running(), BTreeMap::new());
    world.new_leader();
    world.up("swarm1");
    world.up("swarm2");
    world.pass(60);
    assert_eq!(alive(&world), before, "each goes on, and nothing else runs");
    assert_eq!(world.tables.len::<Task>(), 6, "nothing is left of those that were to replace them");
}

#[test]
fn what_was_replaced_or_is_not_wanted_any_more_ends_when_its_node_is_back() {
    let mut world = World::new(2);
    world.replicated("s", 2);
    world.replicated("changed", 2);
    world.settle();
    let on_first = |world: &World, service: &str| -> Vec<String> {
        let tasks = world.tables.tasks_by_node("swarm1").filter(|task| task.service_id == service);
        tasks.map(|task| task.id.clone()).collect()
    };
    let ended = |world: &World, ids: &[String]| {
        let state = |id: &String| world.tables.get::<Task>(id).map(|task| state(task));
        ids.iter().all(|id| state(id).is_none_or(|state| state > TaskState::Running as i32))
    };
    let (replaced, changed) = (on_first(&world, "s"), on_first(&world, "changed"));
    world.down("swarm1");
    world.settle();
    assert_eq!(world.running(), BTreeMap::from([("swarm2", 4)]));
    world.update("changed", |spec| set_image(spec, "other"));
    world.pass(60);
    world.up("swarm1");
    world.pass(60);
    assert!(ended(&world, &replaced) && ended(&world, &changed));
    assert_eq!(world.running(), BTreeMap::from([("swarm2", 4)]));

    // Without a place for the new version either, the old one is not wanted all the same.
    let before = alive(&world);
    world.down("swarm2");
    world.down("swarm1");
    world.update("changed", |spec| set_image(spec, "newest"));
    world.settle();
    world.up("swarm2");
    world.pass(60);
    let after = alive(&world);
    assert_eq!(after.iter().filter(|id| before.contains(id)).count(), 2, "those of the other");
    assert_eq!(world.running(), BTreeMap::from([("swarm2", 4)]));
}

#[test]
fn obeys_the_restart_condition() {
    for (condition, end, expect) in [
        (RestartCondition::Any, TaskState::Complete, 1),
        (RestartCondition::Any, TaskState::Failed, 1),
        (RestartCondition::OnFailure, TaskState::Complete, 0),
        (RestartCondition::OnFailure, TaskState::Failed, 1),
        (RestartCondition::None, TaskState::Failed, 0),
    ] {
        let mut world = World::new(1);
        world.replicated("s", 1);
        policy(&mut world, RestartPolicy { condition: condition as i32, ..Default::default() });
        let task = first(&world);
        world.report(&task, end);
        world.pass(10);
        assert_eq!(world.running().into_values().sum::<usize>(), expect, "{condition:?} {end:?}");
    }
}

#[test]
fn obeys_the_number_of_attempts() {
    for (window, expect) in [(0, 2), (30, 2), (5, 6)] {
        let mut world = World::new(1);
        world.replicated("s", 1);
        let window = from_duration(Duration::from_secs(window));
        let delay = from_duration(Duration::from_secs(5));
        policy(
            &mut world,
            RestartPolicy {
                condition: RestartCondition::Any as i32,
                max_attempts: 2,
                window: Some(window),
                delay: Some(delay),
            },
        );
        let mut restarts = 0;
        while restarts < 6 && !world.running().is_empty() {
            let task = first(&world);
            world.report(&task, TaskState::Failed);
            world.pass(5);
            restarts += world.running().len();
            if restarts == 1 {
                world.new_leader();
            }
        }
        assert_eq!(restarts, expect, "window {window:?}");
    }
}

#[test]
fn keeps_five_tasks_of_a_slot() {
    let mut world = World::new(1);
    world.replicated("s", 1);
    world.pass(1);
    for _ in 0..8 {
        let task = first(&world);
        world.report(&task, TaskState::Failed);
        world.pass(6);
    }
    assert_eq!(world.tables.len::<Task>(), 5);
    assert_eq!(world.running().into_values().sum::<usize>(), 1);
}

#[test]
fn a_broken_image_is_tried_at_the_pace_of_the_delay() {
    let mut world = World::new(1);
    world.broken_image = Some("alpine".into());
    world.replicated("s", 1);
    world.pass(22);
    let tried =
        world.tables.iter::<Task>().filter(|task| state(task) == TaskState::Failed as i32).count();
    assert!((3..=5).contains(&tried), "{tried} attempts in 22 s");
}

#[test]
fn a_label_that_goes_takes_the_tasks_along() {
    let mut world = World::new(2);
    world.replicated("s", 2);
    let label = |world: &mut World, value: &str| {
        world.change::<Node>("swarm1", |node| {
            let annotations = node.spec.get_or_insert_default().annotations.get_or_insert_default();
            annotations.labels.insert("zone".into(), value.into());
        });
    };
    label(&mut world, "east");
    world.update("s", |spec| {
        let constraints = vec!["node.labels.zone==east".into()];
        spec.task.get_or_insert_default().placement =
            Some(Placement { constraints, ..Default::default() });
    });
    world.pass(60);
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 2)]));

    label(&mut world, "west");
    world.plan();
    let rejected =
        world.tables.iter::<Task>().filter(|task| state(task) == TaskState::Rejected as i32);
    let messages: Vec<_> =
        rejected.filter_map(|task| task.status.as_ref().map(|status| status.err.clone())).collect();
    assert_eq!(messages, ["assigned node no longer meets constraints"; 2]);
    world.pass(60);
    assert_eq!(world.running(), BTreeMap::new());
    let waiting = world.tables.iter::<Task>().find(|task| state(task) == TaskState::Pending as i32);
    let err = waiting.and_then(|task| task.status.as_ref()).map(|status| status.err.clone());
    assert_eq!(
        err.as_deref(),
        Some("no suitable node (scheduling constraints not satisfied on 2 nodes)")
    );
}

#[test]
fn a_node_that_shrinks_keeps_what_fits() {
    let mut world = World::new(1);
    let memory = |world: &mut World, bytes: i64| {
        world.change::<Node>("swarm1", |node| {
            let resources = Resources { memory_bytes: bytes, ..Default::default() };
            node.description =
                Some(NodeDescription { resources: Some(resources), ..Default::default() });
        });
    };
    memory(&mut world, 400);
    world.replicated("s", 4);
    world.update("s", |spec| {
        let reservations = Some(Resources { memory_bytes: 100, ..Default::default() });
        let resources = ResourceRequirements { reservations, ..Default::default() };
        spec.task.get_or_insert_default().resources = Some(resources);
    });
    world.pass(60);
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 4)]));
    memory(&mut world, 250);
    world.pass(60);
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 2)]));
}

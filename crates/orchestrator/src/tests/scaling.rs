//! Scaling, draining and removing: counts are kept, nodes are evenly filled, nothing is left behind.

use std::collections::BTreeMap;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{GlobalService, Service, Task, TaskState};

use super::world::{World, is_running, state};

#[test]
fn keeps_counts_and_balance_through_scaling() {
    for nodes in [1, 2, 3, 5] {
        let mut world = World::new(nodes);
        world.replicated("s", 0);
        for replicas in [5, 10, 1, 20, 0, 7] {
            world.scale("s", replicas);
            let counts: Vec<usize> = world.running().into_values().collect();
            assert_eq!(counts.iter().sum::<usize>() as u64, replicas);
            let most = counts.iter().max().copied().unwrap_or_default();
            let least = if counts.len() < nodes {
                0
            } else {
                counts.iter().min().copied().unwrap_or_default()
            };
            assert!(most - least <= 1, "{counts:?} at {replicas}");
            assert_eq!(world.tables.len::<Task>() as u64, replicas, "what was removed is gone");
        }
    }
}

#[test]
fn fills_a_drained_node_again_only_by_scaling() {
    let mut world = World::new(3);
    world.replicated("helloworld", 5);
    world.pass(1);
    world.scale("helloworld", 10);
    assert_eq!(world.running().into_values().sum::<usize>(), 10);

    world.availability("swarm3", Availability::Drain);
    world.pass(1);
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 5), ("swarm2", 5)]));
    world.scale("helloworld", 1);
    assert_eq!(world.running().into_values().sum::<usize>(), 1);
    world.scale("helloworld", 20);
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 10), ("swarm2", 10)]));

    world.availability("swarm3", Availability::Active);
    world.pass(60);
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 10), ("swarm2", 10)]));
    world.scale("helloworld", 30);
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 10), ("swarm2", 10), ("swarm3", 10)]));
}

#[test]
fn removes_what_does_not_run_first() {
    let mut world = World::new(2);
    world.replicated("s", 4);
    world.plan();
    let keep: Vec<String> = world
        .tables
        .iter::<Task>()
        .filter(|task| task.slot > 2)
        .map(|task| task.id.clone())
        .collect();
    keep.iter().for_each(|id| world.report(id, TaskState::Running));
    world.scale("s", 2);
    let left: Vec<String> = world
        .tables
        .iter::<Task>()
        .filter(|task| is_running(task))
        .map(|task| task.id.clone())
        .collect();
    assert_eq!(left, keep);
}

#[test]
fn a_removed_task_stays_until_it_has_stopped() {
    let mut world = World::new(1);
    world.replicated("s", 1);
    world.settle();
    world.delete::<Service>("s");
    world.plan();
    let states: Vec<_> =
        world.tables.iter::<Task>().map(|task| (state(task), task.desired_state)).collect();
    assert_eq!(states, [(TaskState::Running as i32, TaskState::Remove as i32)]);
    world.settle();
    assert_eq!(world.tables.len::<Task>(), 0);
}

#[test]
fn a_new_leader_removes_what_a_deleted_service_left() {
    let mut world = World::new(1);
    world.replicated("s", 3);
    world.settle();
    world.delete::<Service>("s");
    world.new_leader();
    world.settle();
    assert_eq!(world.tables.len::<Task>(), 0);
}

#[test]
fn global_services_follow_the_nodes() {
    let mut world = World::new(3);
    world.service("g", Mode::Global(GlobalService {}));
    world.settle();
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 1), ("swarm2", 1), ("swarm3", 1)]));
    world.availability("swarm3", Availability::Drain);
    world.settle();
    assert_eq!(world.running(), BTreeMap::from([("swarm1", 1), ("swarm2", 1)]));
    world.availability("swarm3", Availability::Active);
    world.down("swarm1");
    world.settle();
    let wanted: Vec<_> = world
        .tables
        .iter::<Task>()
        .filter(|task| is_running(task))
        .map(|task| task.node_id.clone())
        .collect();
    assert_eq!(wanted.len(), 2);
    assert!(!wanted.contains(&"swarm1".to_owned()));
}

#[test]
fn a_new_leader_has_nothing_to_change() {
    let mut world = World::new(3);
    world.replicated("s", 7);
    world.service("g", Mode::Global(GlobalService {}));
    world.pass(60);
    let before: Vec<_> = world.tables.iter::<Task>().cloned().collect();
    world.new_leader();
    world.pass(60);
    assert_eq!(world.tables.iter::<Task>().cloned().collect::<Vec<_>>(), before);
}

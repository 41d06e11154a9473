//! Slots that fail again and again: how long their restarts wait, what they say, and how much is remembered.

use std::time::Duration;

use proptest::prelude::*;
use swarm_proto::timestamp::{from_duration, to_system_time};
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Node, ReplicatedService, RestartPolicy, Task, TaskState};

use super::world::{World, is_running, set_image, state};

/// One service `s` whose image fails as soon as it starts.
fn failing(nodes: usize, replicas: u64, delay: u64, labels: &[(&str, &str)]) -> World {
    let mut world = World::new(nodes);
    world.replicated("s", 0);
    world.broken_image = Some("bad".to_owned());
    world.update("s", |spec| {
        let restart = RestartPolicy {
            condition: RestartCondition::Any as i32,
            delay: Some(from_duration(Duration::from_secs(delay))),
            ..RestartPolicy::default()
        };
        spec.task.get_or_insert_default().restart = Some(restart);
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        spec.annotations.get_or_insert_default().labels = labels.collect();
        set_image(spec, "bad");
    });
    world.scale("s", replicas);
    world
}

/// The task that waits for its restart.
fn waiting(world: &World) -> Option<Task> {
    let is_waiting = |task: &&std::sync::Arc<Task>| task.desired_state == TaskState::Ready as i32;
    world.tables.iter::<Task>().find(is_waiting).map(|task| Task::clone(task))
}

fn delay_of(task: &Task) -> u64 {
    let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
    let until = task.restart_backoff.as_ref().and_then(|backoff| backoff.until.as_ref());
    let (created, until) = (created.expect("set"), until.expect("set"));
    to_system_time(until).duration_since(to_system_time(created)).expect("later").as_secs()
}

#[test]
fn restarts_wait_longer_and_longer_also_under_new_leaders() {
    for new_leaders in [false, true] {
        let mut world = failing(1, 0, 5, &[("swarm.restart.backoff", "1m")]);
        world.update("s", |spec| {
            spec.mode = Some(Mode::Replicated(ReplicatedService { replicas: 1 }));
        });
        world.settle();
        let mut delays = Vec::new();
        while delays.len() < 6 {
            let task = waiting(&world).expect("one waits");
            let (id, delay) = (task.id.clone(), delay_of(&task));
            delays.push(delay);
            let created = task.meta.as_ref().and_then(|meta| meta.created_at);
            let began = to_system_time(&created.expect("set"));
            world.pass(delay - 1 - world.now.duration_since(began).expect("later").as_secs());
            if new_leaders {
                world.new_leader();
                world.settle();
            }
            assert_eq!(waiting(&world).map(|task| task.id), Some(id.clone()), "{delays:?}");
            world.pass(1);
            assert_ne!(waiting(&world).map(|task| task.id), Some(id), "{delays:?}");
        }
        assert_eq!(delays, [5, 10, 20, 40, 60, 60], "new leaders: {new_leaders}");
    }
}

#[test]
fn a_task_that_waits_says_why() {
    for (labels, expect) in [
        (&[][..], "restarts at 13:47:45 UTC"),
        (&[("swarm.restart.backoff", "1h")], "restarts at 13:47:45 UTC after 1 failure"),
    ] {
        let mut world = World::new(1);
        world.replicated("s", 1);
        world.update("s", |spec| {
            let labels =
                labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            spec.annotations.get_or_insert_default().labels = labels.collect();
        });
        world.pass(60);
        let running = world.tables.iter::<Task>().find(|task| is_running(task));
        let running = running.expect("one runs").id.clone();
        world.report(&running, TaskState::Failed);
        world.settle();
        assert_eq!(waiting(&world).and_then(|task| task.status).expect("set").err, "");
        world.pass(1);
        let told = waiting(&world).expect("it waits still");
        assert_eq!(told.status.expect("set").err, expect);
        world.pass(4);
        let status = world.tables.get::<Task>(&told.id).and_then(|task| task.status.clone());
        let status = status.expect("set");
        assert_eq!((status.state, &*status.err), (TaskState::Running as i32, ""));
    }
}

#[test]
fn stable_tasks_and_updates_start_anew() {
    let mut world = failing(1, 1, 5, &[("swarm.restart.backoff", "10m")]);
    world.pass(100);
    let task = waiting(&world).expect("one waits");
    assert!(delay_of(&task) >= 40);
    world.broken_image = None;
    world.pass(700);
    let running =
        world.tables.iter::<Task>().find(|task| is_running(task)).map(|task| task.id.clone());
    world.pass(601);
    world.report(&running.expect("it runs at last"), TaskState::Failed);
    world.settle();
    assert_eq!(delay_of(&waiting(&world).expect("one waits")), 5);
    world.broken_image = Some("bad".to_owned());
    world.pass(60);
    assert!(delay_of(&waiting(&world).expect("one waits")) > 5);
    world.broken_image = Some("new".to_owned());
    world.update("s", |spec| set_image(spec, "new"));
    world.settle();
    assert_eq!(delay_of(&waiting(&world).expect("one waits")), 5);
}

#[test]
fn a_node_s_finished_tasks_are_as_many_as_it_says() {
    let mut world = failing(2, 12, 1, &[]);
    world.pass(30);
    let dead = |world: &World, node: &str| {
        let tasks = world.tables.tasks_by_node(node);
        tasks.filter(|task| state(task) > TaskState::Running as i32).count()
    };
    let before = [dead(&world, "swarm1"), dead(&world, "swarm2")];
    assert!(before.iter().all(|count| *count > 20), "{before:?}");
    world.change::<Node>("swarm1", |node| {
        let labels = [("swarm.task-history-limit".to_owned(), "10".to_owned())].into();
        node.spec.get_or_insert_default().annotations.get_or_insert_default().labels = labels;
    });
    world.plan();
    assert_eq!(dead(&world, "swarm1"), 10);
    for _ in 0..30 {
        world.pass(1);
        // One more in each slot, should its newest be there.
        assert!(dead(&world, "swarm1") <= 10, "{}", dead(&world, "swarm1"));
    }
    world.new_leader();
    world.settle();
    assert!(dead(&world, "swarm1") <= 10);
    assert!(dead(&world, "swarm2") > 20, "the other node has no limit of its own");
}

#[test]
fn a_loop_without_delay_does_not_outrun_the_reaper() {
    let mut world = failing(3, 0, 0, &[]);
    world.broken_image = None;
    world.scale("s", 300);
    for round in 0..40 {
        let running: Vec<String> = world
            .tables
            .iter::<Task>()
            .filter(|task| is_running(task))
            .map(|task| task.id.clone())
            .collect();
        running.iter().for_each(|id| world.report(id, TaskState::Failed));
        world.settle();
        // In each slot those that the history may have, the one that runs, and no other.
        let tasks = world.tables.len::<Task>();
        assert!(tasks <= 300 * 6, "{tasks} tasks after {round} rounds");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_slot_is_restarted_and_no_sooner_than_it_said(
        fails in prop::collection::vec((0..100_usize, 0..90_u64, any::<bool>()), 1..40),
    ) {
        let mut world = failing(2, 0, 2, &[("swarm.restart.backoff", "30s")]);
        world.broken_image = None;
        world.scale("s", 3);
        for (place, seconds, is_new_leader) in fails {
            let running: Vec<String> =
                world.tables.iter::<Task>().filter(|task| is_running(task)).map(|task| task.id.clone()).collect();
            if let Some(id) = running.get(place % running.len().max(1)) {
                world.report(id, TaskState::Failed);
            }
            world.settle();
            if is_new_leader {
                world.new_leader();
            }
            world.pass(seconds);
            for task in world.tables.iter::<Task>() {
                let until = task.restart_backoff.as_ref().and_then(|backoff| backoff.until.as_ref());
                let Some(until) = until.map(to_system_time) else { continue };
                let is_started = task.desired_state == TaskState::Running as i32;
                prop_assert!(!is_started || until <= world.now, "{} began too soon", task.id);
                prop_assert!(is_started || until > world.now || task.desired_state > TaskState::Running as i32,
                    "{} waits for too long", task.id);
                prop_assert!(delay_of(task) <= 30);
            }
        }
        world.pass(30);
        prop_assert_eq!(world.running().into_values().sum::<usize>(), 3);
    }
}

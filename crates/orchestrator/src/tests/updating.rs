//! Rolling updates: how many at a time, in which order, and what a failure leads to.

use std::time::Duration;

use swarm_proto::timestamp::from_duration;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::update_config::{FailureAction, UpdateOrder};
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{GlobalService, ReplicatedService, Service, Task, TaskState, UpdateConfig};

use swarm_store::PORTION;

use super::world::{World, image, is_running, set_image, state};

fn world(replicas: u64, config: UpdateConfig) -> World {
    let mut world = World::new(3);
    world.replicated("s", replicas);
    world.change::<Service>("s", |service| {
        let spec = service.spec.get_or_insert_default();
        spec.update = Some(config);
        spec.rollback = Some(config);
    });
    world.pass(60);
    world
}

fn running(world: &World, wanted: &str) -> usize {
    world
        .tables
        .iter::<Task>()
        .filter(|task| is_running(task) && image(task) == Some(wanted))
        .count()
}

fn config(parallelism: u64, delay_seconds: u64) -> UpdateConfig {
    let delay = (delay_seconds > 0).then(|| from_duration(Duration::from_secs(delay_seconds)));
    UpdateConfig { parallelism, delay, ..Default::default() }
}

#[test]
fn updates_so_many_at_a_time() {
    for (parallelism, delay, seconds_needed) in
        [(1, 10, 50), (2, 10, 20), (3, 10, 10), (0, 10, 0), (1, 0, 0)]
    {
        let mut world = world(6, config(parallelism, delay));
        world.update("s", |spec| set_image(spec, "new"));
        world.settle();
        assert_eq!(world.update_status("s"), (UpdateState::Updating, "update in progress".into()));
        let at_once = if delay == 0 || parallelism == 0 { 6 } else { parallelism as usize };
        assert_eq!((running(&world, "new"), running(&world, "alpine")), (at_once, 6 - at_once));
        if seconds_needed > 0 {
            world.pass(seconds_needed - 1);
            assert!(running(&world, "new") < 6);
            world.pass(1);
        }
        assert_eq!(running(&world, "new"), 6, "parallelism {parallelism}");
        assert_eq!(world.update_status("s").0, UpdateState::Updating, "it is still being watched");
        world.pass(5);
        assert_eq!(world.update_status("s"), (UpdateState::Completed, "update completed".into()));
    }
}

#[test]
fn never_takes_down_more_than_parallelism_allows() {
    for (order, least, most) in [(UpdateOrder::StopFirst, 4, 5), (UpdateOrder::StartFirst, 5, 6)] {
        let mut world = world(5, UpdateConfig { order: order as i32, ..config(1, 0) });
        world.update("s", |spec| set_image(spec, "new"));
        for _ in 0..100 {
            world.plan();
            let up = world
                .tables
                .iter::<Task>()
                .filter(|task| state(task) == TaskState::Running as i32)
                .count();
            assert!((least..=most).contains(&up), "{order:?}: {up}");
            if !world.agents() {
                break;
            }
        }
        assert_eq!(running(&world, "new"), 5);
    }
}

#[test]
fn a_replacement_waits_for_the_old_task_to_stop() {
    let mut world = world(1, config(1, 0));
    world.update("s", |spec| set_image(spec, "new"));
    world.plan();
    let desired: Vec<_> = world
        .tables
        .iter::<Task>()
        .map(|task| (image(task).map(str::to_owned), task.desired_state))
        .collect();
    assert!(desired.contains(&(Some("new".into()), TaskState::Ready as i32)), "{desired:?}");
    let old = world
        .tables
        .iter::<Task>()
        .find(|task| image(task) == Some("alpine"))
        .map(|task| task.id.clone());
    world.report(&old.expect("is there"), TaskState::Shutdown);
    world.plan();
    let started = world.tables.iter::<Task>().filter(|task| image(task) == Some("new"));
    assert_eq!(
        started.map(|task| task.desired_state).collect::<Vec<_>>(),
        [TaskState::Running as i32]
    );
}

#[test]
fn failures_pause_roll_back_or_are_ignored() {
    for (action, ratio, expect, message) in [
        (
            FailureAction::Pause,
            0.0,
            UpdateState::Paused,
            "update paused due to failure or early termination of task ",
        ),
        (FailureAction::Continue, 0.0, UpdateState::Completed, "update completed"),
        (FailureAction::Rollback, 0.0, UpdateState::RollbackCompleted, "rollback completed"),
        (FailureAction::Pause, 1.0, UpdateState::Completed, "update completed"),
    ] {
        let failing = UpdateConfig {
            failure_action: action as i32,
            max_failure_ratio: ratio,
            ..config(1, 0)
        };
        let mut world = world(3, failing);
        world.broken_image = Some("broken".into());
        world.update("s", |spec| set_image(spec, "broken"));
        world.pass(100);
        let (state, text) = world.update_status("s");
        assert_eq!(state, expect, "{action:?} {text}");
        assert!(text.starts_with(message), "{text}");
        let good = running(&world, "alpine");
        match action {
            FailureAction::Pause if ratio == 0.0 => assert_eq!(good, 2),
            FailureAction::Rollback => assert_eq!(good, 3),
            _ => assert_eq!(good, 0),
        }
    }
}

#[test]
fn a_newer_update_takes_over() {
    let mut world = world(4, config(1, 30));
    world.update("s", |spec| set_image(spec, "second"));
    world.pass(31);
    world.update("s", |spec| {
        set_image(spec, "third");
        spec.update = Some(config(0, 0));
    });
    world.pass(10);
    assert_eq!(running(&world, "third"), 4);
    assert_eq!(world.update_status("s").0, UpdateState::Completed);
}

#[test]
fn a_new_leader_goes_on_with_an_update() {
    let mut world = world(4, config(1, 10));
    world.update("s", |spec| set_image(spec, "new"));
    world.pass(11);
    world.new_leader();
    world.pass(60);
    assert_eq!(running(&world, "new"), 4);
    assert_eq!(world.update_status("s"), (UpdateState::Completed, "update completed".into()));
}

#[test]
fn scaling_alone_replaces_nothing() {
    let mut world = world(3, config(1, 0));
    let before: Vec<String> = world.tables.iter::<Task>().map(|task| task.id.clone()).collect();
    world.scale("s", 5);
    let kept = world
        .tables
        .iter::<Task>()
        .filter(|task| is_running(task) && before.contains(&task.id))
        .count();
    assert_eq!((kept, world.update_status("s").0), (3, UpdateState::Unknown));
}

#[test]
fn a_rollback_without_a_previous_specification_pauses() {
    let failing = UpdateConfig { failure_action: FailureAction::Rollback as i32, ..config(1, 0) };
    let mut world = world(2, failing);
    world.broken_image = Some("broken".into());
    world.update("s", |spec| set_image(spec, "broken"));
    world.change::<Service>("s", |service| service.previous_spec = None);
    world.pass(100);
    let (state, text) = world.update_status("s");
    assert_eq!((state, running(&world, "alpine")), (UpdateState::Paused, 1), "{text}");
}

#[test]
fn an_update_does_not_wait_for_a_task_whose_node_went_before_it_came_up() {
    type Leave = fn(&mut World, &str);
    let drain: Leave = |world, node| world.availability(node, Availability::Drain);
    for (order, leave) in [UpdateOrder::StopFirst, UpdateOrder::StartFirst]
        .into_iter()
        .flat_map(|order| [(order, drain), (order, World::down as Leave)])
    {
        for mode in
            [Mode::Global(GlobalService {}), Mode::Replicated(ReplicatedService { replicas: 3 })]
        {
            let mut world = World::new(3);
            world.service("s", mode);
            let failure_action = FailureAction::Continue as i32;
            let config = UpdateConfig { order: order as i32, failure_action, ..config(1, 0) };
            world.change::<Service>("s", |service| {
                service.spec.get_or_insert_default().update = Some(config);
            });
            world.pass(60);
            world.update("s", |spec| set_image(spec, "new"));
            // The first new task is placed, and its node goes before the agent has heard of it.
            world.plan();
            while world.tables.iter::<Task>().all(|task| image(task) != Some("new")) {
                world.agents();
                world.plan();
            }
            let new = world.tables.iter::<Task>().find(|task| image(task) == Some("new"));
            let node = new.map(|task| task.node_id.clone()).expect("was made");
            leave(&mut world, &node);
            world.pass(120);
            let expect = if matches!(mode, Mode::Global(_)) { 2 } else { 3 };
            assert_eq!(running(&world, "new"), expect, "{order:?} {mode:?} {node}");
            assert_eq!(
                world.update_status("s").0,
                UpdateState::Completed,
                "{order:?} {mode:?} {node}"
            );
        }
    }
}

#[test]
fn failures_are_watched_for_across_a_change_of_leader() {
    let rollback = UpdateConfig { failure_action: FailureAction::Rollback as i32, ..config(0, 0) };
    let mut world = world(3, rollback);
    world.update("s", |spec| set_image(spec, "new"));
    world.settle();
    assert_eq!(running(&world, "new"), 3);
    world.new_leader();
    world.pass(1);
    assert_eq!(
        world.update_status("s").0,
        UpdateState::Updating,
        "its monitoring period is not over"
    );
    let new = world.tables.iter::<Task>().find(|task| is_running(task));
    let new = new.map(|task| task.id.clone()).expect("runs");
    world.report(&new, TaskState::Failed);
    world.pass(60);
    assert_eq!(
        world.update_status("s"),
        (UpdateState::RollbackCompleted, "rollback completed".into())
    );
    assert_eq!(running(&world, "alpine"), 3);
}

#[test]
fn what_an_earlier_leader_saw_is_not_in_the_future() {
    let mut world = world(3, config(0, 0));
    let hour = Duration::from_secs(3600);
    world.skip(hour);
    world.update("s", |spec| set_image(spec, "new"));
    world.settle();
    // The next leader's clock is not an hour ahead.
    world.now -= hour;
    world.new_leader();
    world.pass(10);
    assert_eq!(world.update_status("s"), (UpdateState::Completed, "update completed".into()));
}

#[test]
fn a_task_that_was_told_to_stop_is_no_failure() {
    let failing = UpdateConfig { failure_action: FailureAction::Pause as i32, ..config(1, 0) };
    let mut world = world(3, failing);
    world.update("s", |spec| set_image(spec, "new"));
    world.settle();
    world.availability("swarm1", Availability::Drain);
    world.pass(60);
    assert_eq!(world.update_status("s"), (UpdateState::Completed, "update completed".into()));
    assert_eq!(running(&world, "new"), 3);
}

#[test]
fn what_came_up_at_last_replaces_what_an_update_left_behind() {
    // The new tasks fail for as long as the update lasts, and come up when their image is mended.
    let config = UpdateConfig {
        order: UpdateOrder::StartFirst as i32,
        failure_action: FailureAction::Continue as i32,
        ..config(0, 0)
    };
    let mut world = world(2, config);
    world.broken_image = Some("new".into());
    world.update("s", |spec| set_image(spec, "new"));
    world.pass(60);
    let said = "update completed; new tasks that failed: 2 (of 2 slots)";
    assert_eq!(world.update_status("s"), (UpdateState::Completed, said.into()));
    assert_eq!(running(&world, "alpine"), 2);
    world.broken_image = None;
    world.pass(60);
    assert_eq!((running(&world, "alpine"), running(&world, "new")), (0, 2));
}

#[test]
fn a_large_update_is_planned_in_portions() {
    let replicas = 3 * PORTION as u64;
    let mut world = world(replicas, config(0, 0));
    world.update("s", |spec| set_image(spec, "new"));
    let most = world.plan_counting();
    assert!(most <= PORTION + 4, "a plan holds {most} writes");
    world.pass(10);
    assert_eq!(running(&world, "new") as u64, replicas);
    assert_eq!(world.update_status("s"), (UpdateState::Completed, "update completed".into()));
}

//! Services that let the tasks of a lost node be for a while, and that prefer them when they are back.

use std::time::Duration;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{
    GlobalJob, GlobalService, JobStatus, Node, ReplicatedJob, Service, Task, TaskState, Version,
};

use super::world::{World, set_image, state};

/// Three nodes with two tasks each of a service with these labels.
fn spread(labels: &[(&str, &str)]) -> World {
    let mut world = World::new(3);
    world.replicated("s", 6);
    labels.iter().for_each(|(name, value)| label(&mut world, "s", name, value));
    world.settle();
    world
}

fn label(world: &mut World, service: &str, name: &str, value: &str) {
    world.update(service, |spec| {
        let labels = &mut spec.annotations.get_or_insert_default().labels;
        labels.insert(name.to_owned(), value.to_owned());
    });
    world.settle();
}

/// The tasks that are to run, or run.
fn wanted(world: &World) -> Vec<String> {
    let is_wanted = |task: &&std::sync::Arc<Task>| task.desired_state <= TaskState::Complete as i32;
    world.tables.iter::<Task>().filter(is_wanted).map(|task| task.id.clone()).collect()
}

/// Those that run, and on which nodes.
fn alive(world: &World) -> usize {
    let up = |task: &Task| state(task) == TaskState::Running as i32;
    world.tables.iter::<Task>().filter(|task| up(task)).count()
}

#[test]
fn nothing_happens_to_what_is_back_in_time() {
    for mode in [
        Mode::Global(GlobalService {}),
        Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 3, total_completions: 3 }),
        Mode::GlobalJob(GlobalJob {}),
    ] {
        let mut world = spread(&[("swarm.hold", "30s")]);
        world.service("other", mode);
        world.change::<Service>("other", |service| {
            let job_iteration = Some(Version::default());
            service.job_status = Some(JobStatus { job_iteration, ..Default::default() });
        });
        label(&mut world, "other", "swarm.hold", "30s");
        let before = wanted(&world);
        for leader in [false, true] {
            world.down("swarm1");
            world.pass(20);
            if leader {
                world.new_leader();
            }
            world.pass(9);
            assert_eq!(wanted(&world), before);
            world.up("swarm1");
            world.pass(600);
            assert_eq!((wanted(&world), alive(&world)), (before.clone(), before.len()));
        }
        assert_eq!(world.tables.len::<Task>(), before.len(), "nor was anything made in vain");
    }
}

#[test]
fn what_is_not_back_in_time_is_replaced_then_whoever_leads() {
    for (leaders, clock) in [(0_u64, 0_u64), (1, 0), (2, 0), (1, 5)] {
        let mut world = spread(&[("swarm.hold", "30s")]);
        let before = wanted(&world);
        world.down("swarm1");
        for _ in 0..leaders {
            world.pass(10);
            // The clock of the next leader may be behind.
            world.now -= Duration::from_secs(clock);
            world.new_leader();
        }
        let left = 30 - leaders * 10 + leaders * clock;
        world.pass(left - 1);
        assert_eq!(wanted(&world), before, "{leaders} {clock}");
        world.pass(1);
        assert_eq!(world.running().get("swarm1"), None);
        assert_eq!(world.running().into_values().sum::<usize>(), 6);
    }
}

#[test]
fn a_hold_ends_early_where_it_has_no_reason() {
    type Reason = fn(&mut World);
    let reasons: [(&str, Reason); 5] = [
        ("drained", |world| world.availability("swarm1", Availability::Drain)),
        ("removed", |world| world.delete::<Node>("swarm1")),
        ("a shorter hold", |world| label(world, "s", "swarm.hold", "5s")),
        ("none", |world| label(world, "s", "swarm.hold", "0s")),
        ("updated", |world| world.update("s", |spec| set_image(spec, "newer"))),
    ];
    for (reason, act) in reasons {
        let mut world = spread(&[("swarm.hold", "1h")]);
        world.down("swarm1");
        world.pass(10);
        assert_eq!(world.running().len(), 3);
        act(&mut world);
        world.pass(120);
        assert_eq!(world.running().get("swarm1"), None, "{reason}");
        assert_eq!(world.running().into_values().sum::<usize>(), 6, "{reason}");
    }
}

#[test]
fn a_service_is_scaled_while_its_tasks_are_held() {
    for (replicas, on_first) in [(9, 2), (4, 0)] {
        let mut world = spread(&[("swarm.hold", "1h")]);
        world.down("swarm1");
        world.pass(10);
        world.scale("s", replicas as u64);
        let wanted_on_first = world.tables.tasks_by_node("swarm1");
        let wanted_on_first =
            wanted_on_first.filter(|task| task.desired_state == TaskState::Running as i32).count();
        assert_eq!((wanted(&world).len(), wanted_on_first), (replicas, on_first));
    }
}

#[test]
fn what_had_not_started_is_replaced_at_once() {
    let mut world = World::new(2);
    world.replicated("s", 2);
    world.plan();
    label_only(&mut world);
    world.down("swarm1");
    world.settle();
    assert_eq!(world.running().get("swarm2"), Some(&2));
}

fn label_only(world: &mut World) {
    world.change::<Service>("s", |service| {
        let spec = service.spec.get_or_insert_default();
        let labels = &mut spec.annotations.get_or_insert_default().labels;
        labels.insert("swarm.hold".to_owned(), "1h".to_owned());
    });
}

#[test]
fn the_original_stays_where_it_is_preferred() {
    for (reaction, keeps) in [("newest", false), ("original", true)] {
        for leader in [false, true] {
            let mut world = spread(&[("swarm.return", reaction)]);
            let before = wanted(&world);
            world.down("swarm1");
            world.pass(30);
            assert_eq!(world.running().get("swarm1"), None);
            world.up("swarm1");
            world.pass(2);
            if leader {
                world.new_leader();
            }
            world.pass(60);
            assert_eq!(wanted(&world) == before, keeps, "{reaction}");
            assert_eq!((wanted(&world).len(), alive(&world)), (6, 6));
            let status = world.tables.get::<Service>("s").and_then(|it| it.update_status.clone());
            assert_eq!(status, None, "this is no update");
        }
    }
}

#[test]
fn an_original_that_is_no_more_costs_nothing() {
    for lost_again in [false, true] {
        let mut world = spread(&[("swarm.return", "original")]);
        let first = |world: &World| -> Vec<String> {
            world.tables.tasks_by_node("swarm1").map(|task| task.id.clone()).collect()
        };
        let originals = first(&world);
        world.down("swarm1");
        world.pass(30);
        let replaced = wanted(&world);
        world.up("swarm1");
        world.settle();
        assert_eq!(wanted(&world).len(), 8, "both, until it is known");
        if lost_again {
            world.down("swarm1");
        } else {
            // The machine had lost its power.
            originals.iter().for_each(|id| world.report(id, TaskState::Failed));
        }
        world.pass(60);
        assert_eq!(wanted(&world), replaced, "nothing was stopped or started");
        // A task that fails later is replaced as ever.
        let one = replaced
            .iter()
            .find(|id| world.tables.get::<Task>(id).is_some_and(|task| task.node_id == "swarm2"));
        world.report(&one.cloned().expect("one is there"), TaskState::Failed);
        world.pass(60);
        assert_eq!(wanted(&world).len(), 6);
    }
}

#[test]
fn of_several_generations_the_oldest_stays() {
    let mut world = World::new(3);
    world.replicated("s", 1);
    label(&mut world, "s", "swarm.return", "original");
    let original = wanted(&world);
    let mut lost = Vec::new();
    for _ in 0..2 {
        world.pass(1);
        let node = world.running().into_keys().next().expect("it runs").to_owned();
        world.down(&node);
        world.pass(10);
        lost.push(node);
    }
    for node in lost.iter().rev() {
        world.up(node);
        world.pass(1);
    }
    world.pass(60);
    assert_eq!((wanted(&world), alive(&world)), (original, 1));
}

#[test]
fn an_outdated_original_does_not_come_back() {
    let mut world = spread(&[("swarm.return", "original")]);
    let before = wanted(&world);
    world.down("swarm1");
    world.pass(30);
    world.update("s", |spec| set_image(spec, "newer"));
    world.pass(120);
    world.up("swarm1");
    world.pass(120);
    assert_eq!((wanted(&world).len(), alive(&world)), (6, 6));
    assert!(wanted(&world).iter().all(|id| !before.contains(id)));
}

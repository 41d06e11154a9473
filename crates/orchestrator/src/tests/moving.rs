//! Tasks that are moved because their service asks for it: rebalanced, and drained without a gap.

use std::collections::BTreeMap;

use swarm_proto::timestamp::{from_duration, from_system_time};
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::placement_preference::Preference;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::{
    EndpointSpec, MoveFailures, Node, Placement, PlacementPreference, PortConfig,
    ResourceRequirements, Resources, RestartPolicy, Service, ServiceSpec, SpreadOver, Task,
    TaskState, UpdateConfig,
};

use super::world::{World, image, is_running, set_image, state};

pub(super) const REBALANCE: &[(&str, &str)] = &[("swarm.rebalance", "true")];
pub(super) const DRAIN: &[(&str, &str)] = &[("swarm.drain", "start-first")];

pub(super) fn label(world: &mut World, labels: &[(&str, &str)]) {
    world.change::<Service>("s", |service| {
        let annotations = service.spec.get_or_insert_default().annotations.get_or_insert_default();
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        annotations.labels = labels.collect();
    });
}

/// A service "s" of so many tasks, of which the first node runs none: it was down, and is back.
fn lopsided(nodes: usize, replicas: u64, labels: &[(&str, &str)]) -> World {
    lopsided_with(nodes, replicas, labels, |_| {})
}

fn lopsided_with(
    nodes: usize,
    replicas: u64,
    labels: &[(&str, &str)],
    change: impl FnOnce(&mut ServiceSpec),
) -> World {
    let mut world = World::new(nodes);
    world.replicated("s", replicas);
    label(&mut world, labels);
    world.change::<Service>("s", |service| change(service.spec.get_or_insert_default()));
    world.down("swarm1");
    world.pass(120);
    world.up("swarm1");
    world
}

fn counts(world: &World) -> Vec<usize> {
    let running = world.running();
    let nodes = world.tables.iter::<Node>();
    nodes.map(|node| running.get(node.id.as_str()).copied().unwrap_or_default()).collect()
}

/// Lets agents work step by step; what must hold after each is checked.
fn watch(world: &mut World, seconds: u64, mut check: impl FnMut(&World)) {
    for _ in 0..seconds {
        loop {
            world.plan();
            check(world);
            if !world.agents() {
                break;
            }
            check(world);
        }
        world.skip(std::time::Duration::from_secs(1));
    }
    world.plan();
}

fn up(world: &World) -> usize {
    world.running().into_values().sum()
}

/// Tasks that are to run beyond one a slot.
fn extra(world: &World) -> usize {
    let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
    for task in world.tables.iter::<Task>() {
        if task.desired_state <= TaskState::Running as i32 {
            *slots.entry(task.slot).or_default() += 1;
        }
    }
    slots.into_values().map(|count| count - 1).sum()
}

#[test]
fn nothing_moves_unless_it_is_asked_for() {
    let mut world = lopsided(3, 6, &[]);
    let before = world.tables.to_snapshot();
    world.pass(600);
    assert!(before == world.tables.to_snapshot());
}

#[test]
fn a_node_that_is_back_gets_its_share() {
    for (nodes, replicas, expect) in [
        (2, 2, vec![1, 1]),
        (2, 5, vec![2, 3]),
        (3, 6, vec![2, 2, 2]),
        (3, 7, vec![2, 2, 3]),
        (4, 3, vec![0, 1, 1, 1]),
        (4, 10, vec![2, 2, 3, 3]),
    ] {
        let mut world = lopsided(nodes, replicas, REBALANCE);
        let wanted = usize::try_from(replicas).expect("small");
        assert_eq!(counts(&world)[0], 0);
        watch(&mut world, 29, |world| assert_eq!(extra(world), 0, "it is not there for long"));
        watch(&mut world, 30, |world| {
            assert!(up(world) >= wanted, "{} of {wanted} run", up(world));
            assert!(extra(world) <= 1, "one at a time");
        });
        let mut spread = counts(&world);
        spread.sort_unstable();
        assert_eq!(spread, expect, "{replicas} tasks on {nodes} nodes");
        let before = world.tables.to_snapshot();
        world.new_leader();
        world.pass(600);
        assert!(before == world.tables.to_snapshot(), "what is even stays as it is");
    }
}

#[test]
fn a_budget_is_kept_to_whoever_leads() {
    let labels = &[
        ("swarm.rebalance", "true"),
        ("swarm.rebalance.parallelism", "2"),
        ("swarm.rebalance.delay", "10s"),
        ("swarm.rebalance.cooldown", "0s"),
    ];
    let mut world = lopsided(2, 12, labels);
    for round in 1..=3 {
        for _ in 0..9 {
            watch(&mut world, 1, |world| assert!(extra(world) <= 2));
            world.new_leader();
            assert_eq!(counts(&world)[0], 2 * round, "two every ten seconds");
        }
        world.pass(1);
    }
    world.pass(60);
    assert_eq!(counts(&world), [6, 6]);
}

#[test]
fn a_node_that_comes_and_goes_gets_nothing() {
    let mut world = lopsided(3, 6, REBALANCE);
    for _ in 0..5 {
        watch(&mut world, 25, |world| assert_eq!(extra(world), 0));
        world.down("swarm1");
        world.pass(2);
        world.up("swarm1");
    }
    assert_eq!(counts(&world), [0, 3, 3]);
    world.availability("swarm1", Availability::Pause);
    world.pass(100);
    world.availability("swarm1", Availability::Active);
    world.pass(29);
    assert_eq!(counts(&world), [0, 3, 3]);
    world.pass(2);
    assert_eq!(counts(&world), [2, 2, 2]);
}

#[test]
fn only_where_the_scheduler_would_place_it() {
    type Limit = fn(&mut ServiceSpec);
    let placement = |spec: &mut ServiceSpec, placement: Placement| {
        spec.task.get_or_insert_default().placement = Some(placement);
    };
    let constraint: Limit = |spec| {
        let constraints = vec!["node.id!=swarm1".to_owned()];
        let placement = Placement { constraints, ..Default::default() };
        spec.task.get_or_insert_default().placement = Some(placement);
    };
    let memory: Limit = |spec| {
        let reservations = Some(Resources { memory_bytes: 600, ..Default::default() });
        let resources = ResourceRequirements { reservations, ..Default::default() };
        spec.task.get_or_insert_default().resources = Some(resources);
    };
    let one_a_node = Placement { max_replicas: 1, ..Default::default() };
    for (case, limit, replicas, expect) in [
        ("a constraint", constraint, 4, vec![0, 2, 2]),
        ("memory for one", memory, 6, vec![1, 2, 3]),
    ] {
        let mut world = lopsided_with(3, replicas, REBALANCE, |spec| {
            limit(spec);
        });
        for node in ["swarm1", "swarm2", "swarm3"] {
            world.change::<Node>(node, |it| {
                let memory_bytes = if node == "swarm1" { 1000 } else { 10_000 };
                let resources = Resources { memory_bytes, ..Default::default() };
                it.description.get_or_insert_default().resources = Some(resources);
            });
        }
        world.pass(200);
        let mut spread = counts(&world);
        spread.sort_unstable();
        assert_eq!(spread, expect, "{case}");
        assert_eq!(extra(&world), 0);
    }
    // One a node, and a port of the node: the free node has room, the others have none.
    let mut world = lopsided_with(3, 2, REBALANCE, |spec| placement(spec, one_a_node));
    world.pass(200);
    assert_eq!(counts(&world), [0, 1, 1]);
    let mut world = lopsided_with(3, 4, REBALANCE, |spec| {
        let port = PortConfig {
            target_port: 80,
            published_port: 8080,
            publish_mode: PublishMode::Host as i32,
            ..Default::default()
        };
        spec.endpoint = Some(EndpointSpec { ports: vec![port], ..Default::default() });
    });
    world.pass(200);
    assert_eq!(counts(&world), [1, 1, 1]);
}

#[test]
fn preferences_come_first() {
    // The first node is alone in its zone: it is to have as many as the other three together.
    let mut world = lopsided_with(4, 8, REBALANCE, |spec| {
        let over = SpreadOver { spread_descriptor: "node.labels.zone".into() };
        let preferences = vec![PlacementPreference { preference: Some(Preference::Spread(over)) }];
        spec.task.get_or_insert_default().placement =
            Some(Placement { preferences, ..Default::default() });
    });
    for (node, zone) in [("swarm1", "a"), ("swarm2", "b"), ("swarm3", "b"), ("swarm4", "b")] {
        world.change::<Node>(node, |node| {
            let annotations = node.spec.get_or_insert_default().annotations.get_or_insert_default();
            annotations.labels = [("zone".to_owned(), zone.to_owned())].into();
        });
    }
    world.pass(200);
    let spread = counts(&world);
    assert_eq!(spread[0], 4);
    assert!(spread[1..].iter().all(|count| [1, 2].contains(count)), "{spread:?}");
}

#[test]
fn nothing_moves_while_a_service_is_updated() {
    let labels = &[("swarm.rebalance", "true"), ("swarm.rebalance.cooldown", "5s")];
    let mut world = lopsided_with(2, 4, labels, |spec| {
        let delay = Some(from_duration(std::time::Duration::from_secs(10)));
        spec.update = Some(UpdateConfig { parallelism: 1, delay, ..Default::default() });
    });
    world.update("s", |spec| set_image(spec, "new"));
    watch(&mut world, 35, |world| {
        assert!(world.tables.iter::<Task>().all(|task| task.moved.is_none()));
    });
    world.pass(60);
    assert_eq!(counts(&world), [2, 2]);

    // One that fails is paused, and nothing of it is moved.
    let mut world = lopsided(2, 4, labels);
    world.broken_image = Some("new".into());
    world.update("s", |spec| set_image(spec, "new"));
    world.pass(120);
    let moved = world.tables.iter::<Task>().filter(|task| task.moved.is_some());
    assert_eq!(moved.count(), 0);
}

#[test]
fn an_update_ends_what_is_under_way() {
    let mut world = lopsided(2, 4, REBALANCE);
    world.pass(29);
    world.skip(std::time::Duration::from_secs(1));
    world.plan();
    assert_eq!(extra(&world), 1, "a move has begun");
    world.update("s", |spec| set_image(spec, "new"));
    watch(&mut world, 60, |world| assert!(up(world) >= 3));
    let new = world.tables.iter::<Task>().filter(|task| is_running(task));
    let new = new.filter(|task| image(task) == Some("new"));
    assert_eq!((new.count(), counts(&world)), (4, vec![2, 2]));
}

#[test]
fn scaling_does_not_disturb_a_move() {
    for replicas in [2, 6] {
        let mut world = lopsided(2, 4, REBALANCE);
        world.pass(29);
        world.skip(std::time::Duration::from_secs(1));
        world.plan();
        assert_eq!(extra(&world), 1);
        world.scale("s", replicas);
        let half = usize::try_from(replicas / 2).expect("small");
        assert_eq!(counts(&world), [half, half]);
        assert_eq!(world.update_status("s").1, "", "no update came of it");
    }
}

#[test]
fn what_fails_elsewhere_stays_and_is_tried_less_and_less() {
    let mut world = lopsided(2, 4, REBALANCE);
    let mut tried = Vec::new();
    let start = world.now;
    for _ in 0..400 {
        loop {
            world.plan();
            let on_first =
                |task: &Task| task.node_id == "swarm1" && state(task) < TaskState::Failed as i32;
            let failing: Vec<String> = world
                .tables
                .iter::<Task>()
                .filter(|task| on_first(task) && state(task) == TaskState::Ready as i32)
                .map(|task| task.id.clone())
                .collect();
            for id in &failing {
                tried.push(world.now.duration_since(start).expect("later").as_secs());
                world.report(id, TaskState::Failed);
            }
            assert_eq!(counts(&world), [0, 4]);
            if failing.is_empty() && !world.agents() {
                break;
            }
        }
        world.skip(std::time::Duration::from_secs(1));
        if tried.len() == 3 {
            world.new_leader();
        }
    }
    assert_eq!(tried, [30, 40, 60, 100, 180, 340]);
    world.pass(600);
    assert_eq!(counts(&world), [2, 2]);
    assert!(world.tables.iter::<Task>().all(|task| task.move_failures.is_none()));
}

#[test]
fn a_leader_whose_clock_was_ahead_holds_nothing_up() {
    let mut world = lopsided(2, 4, REBALANCE);
    let hours_ahead = from_system_time(world.now + std::time::Duration::from_secs(7200));
    let stays = world.tables.iter::<Task>().find(|task| is_running(task)).map(|it| it.id.clone());
    world.change::<Task>(&stays.expect("one runs"), |task| {
        let failures = MoveFailures { count: 1, last_at: Some(hours_ahead) };
        task.move_failures = Some(Box::new(failures));
    });
    world.pass(60);
    assert_eq!(counts(&world), [2, 2]);
}

#[test]
fn a_slot_that_loses_its_task_midway_goes_on_with_the_other() {
    type Loss = fn(&mut World, &str, &str);
    let fails: Loss = |world, id, _| world.report(id, TaskState::Failed);
    let goes_down: Loss = |world, _, node| world.down(node);
    for lose in [fails, goes_down] {
        let mut world = lopsided(2, 4, REBALANCE);
        world.pass(29);
        world.skip(std::time::Duration::from_secs(1));
        world.plan();
        let new = world.tables.iter::<Task>().find(|task| task.moved.is_some()).cloned();
        let new = new.expect("a move has begun");
        let old = new.moved.as_ref().expect("moved").task_id.clone();
        assert_eq!(state(&new), TaskState::Assigned as i32);
        lose(&mut world, &old, "swarm2");
        world.settle();
        assert!(is_running(world.tables.get::<Task>(&new.id).expect("exists")));
        let slot = world.tables.tasks_by_slot("s", new.slot);
        let runnable = slot.filter(|task| task.desired_state <= TaskState::Running as i32);
        assert_eq!(runnable.count(), 1, "no third task");
        world.up("swarm2");
        world.pass(600);
        assert_eq!(counts(&world), [2, 2]);
    }
}

#[test]
fn a_restart_policy_is_not_used_up_by_moves() {
    let mut world = lopsided_with(2, 2, REBALANCE, |spec| {
        let condition = RestartCondition::Any as i32;
        let delay = Some(from_duration(std::time::Duration::from_secs(1)));
        let restart = RestartPolicy { condition, delay, max_attempts: 1, ..Default::default() };
        spec.task.get_or_insert_default().restart = Some(restart);
    });
    world.pass(60);
    assert_eq!(counts(&world), [1, 1]);
    world.new_leader();
    let moved = world.tables.iter::<Task>().find(|task| task.moved.is_some() && is_running(task));
    let moved = moved.map(|task| task.id.clone()).expect("one was moved");
    world.report(&moved, TaskState::Failed);
    world.pass(10);
    assert_eq!(up(&world), 2);
}

/// A service with the label, on three nodes, of which the first is drained.
fn drained(replicas: u64, config: UpdateConfig, labels: &[(&str, &str)]) -> World {
    let mut world = World::new(3);
    world.replicated("s", replicas);
    label(&mut world, labels);
    world.change::<Service>("s", |service| {
        service.spec.get_or_insert_default().update = Some(config);
    });
    world.pass(60);
    world.availability("swarm1", Availability::Drain);
    world
}

fn at_a_time(parallelism: u64) -> UpdateConfig {
    UpdateConfig { parallelism, ..Default::default() }
}

#[test]
fn a_drain_keeps_what_runs_until_it_runs_elsewhere() {
    for (parallelism, extra_max) in [(1, 1), (2, 2), (0, 4)] {
        let mut world = drained(12, at_a_time(parallelism), DRAIN);
        let mut most = 0;
        watch(&mut world, 10, |world| {
            assert!(up(world) >= 12, "{} run", up(world));
            most = most.max(extra(world));
        });
        assert_eq!(most, extra_max);
        assert_eq!(counts(&world), [0, 6, 6]);
        let before = world.tables.to_snapshot();
        world.new_leader();
        world.pass(600);
        assert!(before == world.tables.to_snapshot(), "a plan applied twice changes nothing");
    }
}

#[test]
fn a_drain_is_dockers_unless_a_service_asks() {
    for labels in [&[][..], &[("swarm.drain", "stop-first")], &[("swarm.drain", "bad")]] {
        let mut world = drained(6, at_a_time(1), labels);
        world.plan();
        assert_eq!(counts(&world), [0, 2, 2], "{labels:?}");
    }
}

#[test]
fn a_drain_keeps_to_the_delay() {
    let delay = Some(from_duration(std::time::Duration::from_secs(10)));
    let mut world = drained(6, UpdateConfig { parallelism: 1, delay, ..Default::default() }, DRAIN);
    for (seconds, left) in [(9, 1), (2, 0)] {
        watch(&mut world, seconds, |world| assert!(extra(world) <= 1));
        world.new_leader();
        assert_eq!(counts(&world)[0], left);
    }
}

#[test]
fn what_finds_no_other_place_stays_and_says_why() {
    let mut world = World::new(2);
    world.replicated("s", 2);
    label(&mut world, DRAIN);
    world.change::<Service>("s", |service| {
        let placement = Placement { max_replicas: 1, ..Default::default() };
        let spec = service.spec.get_or_insert_default();
        spec.task.get_or_insert_default().placement = Some(placement);
    });
    world.pass(60);
    world.availability("swarm1", Availability::Drain);
    world.pass(600);
    assert_eq!(counts(&world), [1, 1]);
    let waiting = world.tables.iter::<Task>().find(|task| task.node_id.is_empty()).cloned();
    let waiting = waiting.expect("one waits");
    let status = waiting.status.as_ref().map(|status| status.err.clone());
    let expect =
        "no suitable node (1 node not available for new tasks; max replicas per node limit exceed)";
    assert_eq!(status.as_deref(), Some(expect));
    // The node is taken back: nothing is left of it.
    world.availability("swarm1", Availability::Active);
    world.pass(10);
    assert!(world.tables.get::<Task>(&waiting.id).is_none());
    assert_eq!((counts(&world), extra(&world)), (vec![1, 1], 0));
}

#[test]
fn a_drain_that_is_taken_back_stops() {
    let delay = Some(from_duration(std::time::Duration::from_secs(10)));
    let mut world = drained(9, UpdateConfig { parallelism: 1, delay, ..Default::default() }, DRAIN);
    world.pass(5);
    assert_eq!(counts(&world)[0], 2);
    world.skip(std::time::Duration::from_secs(6));
    world.plan();
    assert_eq!(extra(&world), 1, "the second has begun");
    world.availability("swarm1", Availability::Active);
    world.pass(100);
    assert_eq!((counts(&world)[0], up(&world), extra(&world)), (2, 9, 0));
}

#[test]
fn a_node_that_goes_down_while_it_is_drained_is_replaced_at_once() {
    let delay = Some(from_duration(std::time::Duration::from_secs(3600)));
    for begun in [false, true] {
        let mut world =
            drained(9, UpdateConfig { parallelism: 1, delay, ..Default::default() }, DRAIN);
        if begun {
            world.plan();
            assert_eq!(extra(&world), 1);
        }
        world.down("swarm1");
        world.settle();
        assert_eq!(up(&world), 9);
        assert_eq!(extra(&world), 0);
    }
}

#[test]
fn without_its_label_a_service_is_drained_at_once() {
    let delay = Some(from_duration(std::time::Duration::from_secs(3600)));
    let mut world = drained(9, UpdateConfig { parallelism: 1, delay, ..Default::default() }, DRAIN);
    world.settle();
    assert_eq!(counts(&world)[0], 2);
    world.update("s", |spec| spec.annotations.get_or_insert_default().labels.clear());
    world.plan();
    assert_eq!(counts(&world)[0], 0);
    world.pass(10);
    assert_eq!(up(&world), 9);
}

#[test]
fn scaling_down_takes_what_is_drained_first() {
    let delay = Some(from_duration(std::time::Duration::from_secs(3600)));
    let mut world = drained(9, UpdateConfig { parallelism: 1, delay, ..Default::default() }, DRAIN);
    world.settle();
    world.scale("s", 7);
    assert_eq!((counts(&world)[0], up(&world)), (0, 7));
}

#[test]
fn a_large_drain_is_planned_in_portions() {
    let mut world = World::new(3);
    world.replicated("s", 3000);
    label(&mut world, DRAIN);
    world.change::<Service>("s", |service| {
        service.spec.get_or_insert_default().update = Some(at_a_time(0));
    });
    world.pass(10);
    world.availability("swarm1", Availability::Drain);
    let most = world.plan_counting();
    assert!(most <= 1000, "{most}");
    assert_eq!(extra(&world), 1000);
}

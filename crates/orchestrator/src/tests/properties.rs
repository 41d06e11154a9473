//! What holds whatever happens: random updates, failures, drains and changes of leader, in random order.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::update_config::{FailureAction, UpdateOrder};
use swarm_proto::v1::{ReplicatedJob, ReplicatedService, Service, Task, TaskState, UpdateConfig};

use super::world::{World, set_image, state};

/// Something that happens to a cluster of three nodes with a service "s".
#[derive(Debug, Clone)]
enum Event {
    /// Some agents take some of their tasks a step: those whose place in the list is a one of this pattern.
    Agents(u64),
    Update(u8),
    Relabel,
    Scale(u64),
    Fail(usize),
    Availability(usize, Availability),
    Down(usize),
    Up(usize),
    Skip(u64),
    NewLeader,
}

const NODES: [&str; 3] = ["swarm1", "swarm2", "swarm3"];

/// What happens while all goes well: agents work, updates supersede each other, leaders change.
fn gentle() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => any::<u64>().prop_map(Event::Agents),
        1 => any::<u8>().prop_map(Event::Update),
        1 => Just(Event::Relabel),
        1 => Just(Event::NewLeader),
        2 => (0..3_000_u64).prop_map(Event::Skip),
    ]
}

fn rough() -> impl Strategy<Value = Event> {
    let availability = prop_oneof![
        Just(Availability::Active),
        Just(Availability::Drain),
        Just(Availability::Pause)
    ];
    prop_oneof![
        6 => gentle(),
        1 => (0..8_u64).prop_map(Event::Scale),
        2 => any::<usize>().prop_map(Event::Fail),
        1 => (0..3_usize, availability).prop_map(|(node, to)| Event::Availability(node, to)),
        1 => (0..3_usize).prop_map(Event::Down),
        1 => (0..3_usize).prop_map(Event::Up),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Agents(pattern) => {
            let mut place = 0;
            world.agents_with(|_| {
                place += 1;
                pattern >> (place % 64) & 1 == 1
            });
        }
        Event::Update(version) => world.update("s", |spec| set_image(spec, &format!("v{version}"))),
        Event::Relabel => world.update("s", |_| {}),
        Event::Scale(replicas) => {
            let mode = Mode::Replicated(ReplicatedService { replicas: *replicas });
            world.update("s", |spec| spec.mode = Some(mode));
        }
        Event::Fail(which) => {
            let up: Vec<String> = up(world).map(|task| task.id.clone()).collect();
            if let Some(id) = up.get(which % up.len().max(1)) {
                world.report(id, TaskState::Failed);
            }
        }
        Event::Availability(node, to) => world.availability(NODES[*node], *to),
        Event::Down(node) => world.down(NODES[*node]),
        Event::Up(node) => world.up(NODES[*node]),
        Event::Skip(millis) => world.skip(Duration::from_millis(*millis)),
        Event::NewLeader => world.new_leader(),
    }
    world.plan();
}

/// The tasks that run and are to go on.
fn up(world: &World) -> impl Iterator<Item = &Task> {
    world.tables.iter::<Task>().map(|task| &**task).filter(|task| {
        state(task) == TaskState::Running as i32 && task.desired_state <= TaskState::Complete as i32
    })
}

fn config(parallelism: u64, order: UpdateOrder) -> UpdateConfig {
    let failure_action = FailureAction::Continue as i32;
    UpdateConfig { parallelism, order: order as i32, failure_action, ..Default::default() }
}

fn world(replicas: u64, config: UpdateConfig) -> World {
    let mut world = World::new(NODES.len());
    world.replicated("s", replicas);
    world.change::<Service>("s", |service| {
        service.spec.get_or_insert_default().update = Some(config);
    });
    world.pass(60);
    world
}

fn orders() -> impl Strategy<Value = UpdateOrder> {
    prop_oneof![Just(UpdateOrder::StopFirst), Just(UpdateOrder::StartFirst)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_update_never_takes_more_than_it_may(
        replicas in 1..7_u64,
        parallelism in 1..4_u64,
        order in orders(),
        events in prop::collection::vec(gentle(), 1..120),
    ) {
        let mut world = world(replicas, config(parallelism, order));
        for event in &events {
            happen(&mut world, event);
            let (up, wanted) = (up(&world).count() as u64, replicas);
            let runnable = world.tables.iter::<Task>();
            let runnable = runnable.filter(|task| task.desired_state <= TaskState::Running as i32);
            let runnable = runnable.count() as u64;
            match order {
                UpdateOrder::StopFirst => {
                    prop_assert!(up + parallelism >= wanted, "{up} of {wanted} are up after {event:?}");
                    prop_assert_eq!(runnable, wanted);
                }
                UpdateOrder::StartFirst => {
                    prop_assert!(up >= wanted, "{up} of {wanted} are up after {event:?}");
                    prop_assert!(runnable <= wanted + parallelism, "{runnable} tasks for {wanted}");
                }
            }
        }
    }

    #[test]
    fn replicas_are_neither_lost_nor_made_up(
        replicas in 0..7_u64,
        order in orders(),
        parallelism in 0..3_u64,
        events in prop::collection::vec(rough(), 1..80),
    ) {
        let mut world = world(replicas, config(parallelism, order));
        let mut wanted = replicas;
        for event in &events {
            happen(&mut world, event);
            if let Event::Scale(replicas) = event {
                wanted = *replicas;
            }
            let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
            for task in world.tables.iter::<Task>() {
                if task.desired_state <= TaskState::Running as i32 {
                    *slots.entry(task.slot).or_default() += 1;
                }
            }
            prop_assert_eq!(slots.len() as u64, wanted, "after {:?}: {:?}", event, slots);
        }
        for node in NODES {
            world.up(node);
            world.availability(node, Availability::Active);
        }
        world.pass(600);
        prop_assert_eq!(up(&world).count() as u64, wanted);
        let current = world.tables.get::<Service>("s").and_then(|service| service.spec.clone());
        for task in up(&world) {
            prop_assert_eq!(Some(&task.spec), current.as_ref().map(|spec| &spec.task));
        }
        // What is at rest stays at rest, whoever leads.
        let before = world.tables.to_snapshot();
        world.new_leader();
        world.pass(600);
        prop_assert!(before == world.tables.to_snapshot(), "a plan applied twice changes nothing");
    }

    #[test]
    fn a_job_completes_as_often_as_it_should(
        max_concurrent in 1..5_u64,
        total_completions in 1..9_u64,
        events in prop::collection::vec(
            prop_oneof![
                6 => any::<u64>().prop_map(Event::Agents),
                2 => any::<usize>().prop_map(Event::Fail),
                1 => Just(Event::NewLeader),
                1 => (0..8_000_u64).prop_map(Event::Skip),
                1 => (0..3_usize).prop_map(Event::Down),
                1 => (0..3_usize).prop_map(Event::Up),
            ],
            1..80,
        ),
        ends in any::<u64>(),
    ) {
        let mut world = World::new(NODES.len());
        world.service("s", Mode::ReplicatedJob(ReplicatedJob { max_concurrent, total_completions }));
        world.plan();
        let finish = |world: &mut World, pattern: u64| {
            let running: Vec<String> = up(world).map(|task| task.id.clone()).collect();
            for (place, id) in running.iter().enumerate() {
                if pattern >> (place % 64) & 1 == 1 {
                    world.report(id, TaskState::Complete);
                }
            }
            world.plan();
        };
        for (index, event) in events.iter().enumerate() {
            happen(&mut world, event);
            finish(&mut world, ends.rotate_left(index as u32 * 7));
            let wanted = world.tables.iter::<Task>().filter(|task| {
                task.desired_state <= TaskState::Complete as i32
                    && state(task) != TaskState::Complete as i32
            });
            prop_assert!(wanted.count() as u64 <= max_concurrent);
        }
        for node in NODES {
            world.up(node);
        }
        for _ in 0..50 {
            world.pass(60);
            finish(&mut world, u64::MAX);
        }
        let complete = world.tables.iter::<Task>().filter(|task| {
            state(task) == TaskState::Complete as i32
        });
        let mut slots: Vec<u64> = complete.map(|task| task.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        prop_assert_eq!(slots, (0..total_completions).collect::<Vec<_>>());
    }
}

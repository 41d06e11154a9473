//! What holds of moves whatever happens: random returns, drains, failures, updates and changes of leader.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::update_config::{FailureAction, UpdateOrder};
use swarm_proto::v1::{ReplicatedService, Service, Task, TaskState, UpdateConfig};

use super::moving::label;
use super::world::{World, set_image, state};

const NODES: [&str; 4] = ["swarm1", "swarm2", "swarm3", "swarm4"];

#[derive(Debug, Clone)]
enum Event {
    /// Some agents take some of their tasks a step: those whose place in the list is a one of this pattern.
    Agents(u64),
    Availability(usize, Availability),
    Skip(u64),
    NewLeader,
    Down(usize),
    Up(usize),
    Fail(usize),
    Scale(u64),
    Update(u8),
}

/// What takes nothing from a service that is kept whole.
fn gentle() -> impl Strategy<Value = Event> {
    let availability = prop_oneof![
        2 => Just(Availability::Active),
        2 => Just(Availability::Drain),
        1 => Just(Availability::Pause)
    ];
    prop_oneof![
        8 => any::<u64>().prop_map(Event::Agents),
        3 => (0..NODES.len(), availability).prop_map(|(node, to)| Event::Availability(node, to)),
        1 => Just(Event::NewLeader),
        4 => (0..8_000_u64).prop_map(Event::Skip),
    ]
}

fn rough() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => gentle(),
        1 => (0..NODES.len()).prop_map(Event::Down),
        1 => (0..NODES.len()).prop_map(Event::Up),
        2 => any::<usize>().prop_map(Event::Fail),
        1 => (0..8_u64).prop_map(Event::Scale),
        1 => any::<u8>().prop_map(Event::Update),
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
        Event::Availability(node, to) => world.availability(NODES[*node], *to),
        Event::Skip(millis) => world.skip(Duration::from_millis(*millis)),
        Event::NewLeader => world.new_leader(),
        Event::Down(node) => world.down(NODES[*node]),
        Event::Up(node) => world.up(NODES[*node]),
        Event::Fail(which) => {
            let up: Vec<String> = up(world).map(|task| task.id.clone()).collect();
            if let Some(id) = up.get(which % up.len().max(1)) {
                world.report(id, TaskState::Failed);
            }
        }
        Event::Scale(replicas) => {
            let mode = Mode::Replicated(ReplicatedService { replicas: *replicas });
            world.update("s", |spec| spec.mode = Some(mode));
        }
        Event::Update(version) => world.update("s", |spec| set_image(spec, &format!("v{version}"))),
    }
    world.plan();
}

/// The tasks that run and are to go on.
fn up(world: &World) -> impl Iterator<Item = &Task> {
    world.tables.iter::<Task>().map(|task| &**task).filter(|task| {
        state(task) == TaskState::Running as i32 && task.desired_state <= TaskState::Running as i32
    })
}

/// How many tasks are to run, by slot.
fn slots(world: &World) -> BTreeMap<u64, u64> {
    let mut slots = BTreeMap::new();
    for task in world.tables.iter::<Task>() {
        if task.desired_state <= TaskState::Running as i32 {
            *slots.entry(task.slot).or_default() += 1;
        }
    }
    slots
}

/// How many tasks are to take the place of others that are to run, too.
fn moves(world: &World) -> u64 {
    let is_runnable = |task: &Task| task.desired_state <= TaskState::Running as i32;
    let tasks = world.tables.iter::<Task>().filter(|task| {
        let old = task.moved.as_ref().and_then(|moved| world.tables.get::<Task>(&moved.task_id));
        is_runnable(task) && old.is_some_and(|old| is_runnable(old))
    });
    tasks.count() as u64
}

fn world(replicas: u64, parallelism: u64, order: UpdateOrder) -> World {
    let mut world = World::new(NODES.len());
    world.replicated("s", replicas);
    world.change::<Service>("s", |service| {
        let order = order as i32;
        // An update that pauses would end all moves.
        let failure_action = FailureAction::Continue as i32;
        let config = UpdateConfig { parallelism, order, failure_action, ..Default::default() };
        service.spec.get_or_insert_default().update = Some(config);
    });
    label(
        &mut world,
        &[
            ("swarm.rebalance", "true"),
            ("swarm.rebalance.cooldown", "5s"),
            ("swarm.rebalance.parallelism", &parallelism.to_string()),
            ("swarm.drain", "start-first"),
        ],
    );
    world.pass(60);
    world
}

/// Everything is well again, for long enough.
fn heal(world: &mut World) {
    for node in NODES {
        world.up(node);
        world.availability(node, Availability::Active);
    }
    world.pass(1200);
}

fn spread(world: &World) -> Vec<usize> {
    let running = world.running();
    NODES.iter().map(|node| running.get(node).copied().unwrap_or_default()).collect()
}

fn orders() -> impl Strategy<Value = UpdateOrder> {
    prop_oneof![Just(UpdateOrder::StopFirst), Just(UpdateOrder::StartFirst)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_service_is_whole_while_it_is_moved(
        replicas in 1..9_u64,
        parallelism in 1..4_u64,
        events in prop::collection::vec(gentle(), 1..120),
    ) {
        let mut world = world(replicas, parallelism, UpdateOrder::StopFirst);
        for event in &events {
            happen(&mut world, event);
            let up = up(&world).count() as u64;
            prop_assert!(up >= replicas, "{up} of {replicas} are up after {event:?}");
            let slots = slots(&world);
            let extra = slots.values().sum::<u64>() - replicas;
            prop_assert!(extra <= parallelism, "{extra} moves at a time after {event:?}");
            prop_assert!(slots.values().all(|tasks| *tasks <= 2));
        }
        heal(&mut world);
        let spread = spread(&world);
        let (least, most) = (spread.iter().min(), spread.iter().max());
        prop_assert!(most <= least.map(|least| least + 1).as_ref(), "{spread:?}");
        prop_assert_eq!(up(&world).count() as u64, replicas);
    }

    #[test]
    fn moves_neither_lose_nor_make_up_replicas(
        replicas in 0..8_u64,
        parallelism in 1..4_u64,
        order in orders(),
        events in prop::collection::vec(rough(), 1..100),
    ) {
        let mut world = world(replicas, parallelism, order);
        let mut wanted = replicas;
        for event in &events {
            happen(&mut world, event);
            if let Event::Scale(replicas) = event {
                wanted = *replicas;
            }
            let slots = slots(&world);
            prop_assert_eq!(slots.len() as u64, wanted, "after {:?}: {:?}", event, slots);
            let moves = moves(&world);
            prop_assert!(moves <= parallelism, "{moves} moves at a time after {event:?}");
        }
        heal(&mut world);
        prop_assert_eq!(up(&world).count() as u64, wanted);
        prop_assert!(slots(&world).values().all(|tasks| *tasks == 1));
        let spread = spread(&world);
        let (least, most) = (spread.iter().min(), spread.iter().max());
        prop_assert!(most <= least.map(|least| least + 1).as_ref(), "{spread:?}");
        // What is at rest stays at rest, whoever leads.
        let before = world.tables.to_snapshot();
        world.new_leader();
        world.pass(1200);
        prop_assert!(before == world.tables.to_snapshot(), "a plan applied twice changes nothing");
    }
}

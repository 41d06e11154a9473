//! What holds for any cluster, in whatever order nodes and tasks come and go.

use proptest::prelude::*;
use swarm_proto::v1::generic_resource::Resource;
use swarm_proto::v1::node_spec::Availability;

use super::*;
use crate::demand::{Demand, host_ports};
use crate::filter;
use crate::neighbours::Around;
use crate::node::{NodeInfo, is_placed};

/// What a service asks of its nodes.
#[derive(Debug, Clone)]
struct Wish {
    cpus: i64,
    gpus: i64,
    port: Option<u32>,
    max_replicas: u64,
    zone: Option<u8>,
    by_zone: bool,
}

#[derive(Debug, Clone)]
enum Event {
    /// So many tasks more for a service.
    Tasks(usize, usize),
    /// A task ends, is told to stop, or fails: the one at this place.
    End(usize, TaskState),
    ToldToStop(usize),
    Node(usize, Availability, u8),
    NodeGone(usize),
    Skip(u64),
}

const SERVICES: usize = 3;
const NODES: usize = 4;
const CPU: i64 = 1_000_000_000;

fn wish() -> impl Strategy<Value = Wish> {
    let port = prop::option::weighted(0.3, 8000..8002_u32);
    let zone = prop::option::weighted(0.3, 0..2_u8);
    (0..3_i64, 0..2_i64, port, 0..3_u64, zone, any::<bool>()).prop_map(
        |(cpus, gpus, port, max_replicas, zone, by_zone)| Wish {
            cpus,
            gpus,
            port,
            max_replicas,
            zone,
            by_zone,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let end =
        prop_oneof![Just(TaskState::Complete), Just(TaskState::Failed), Just(TaskState::Shutdown)];
    let availability = prop_oneof![
        3 => Just(Availability::Active),
        1 => Just(Availability::Drain),
        1 => Just(Availability::Pause)
    ];
    prop_oneof![
        4 => (0..SERVICES, 1..6_usize).prop_map(|(service, count)| Event::Tasks(service, count)),
        2 => (any::<usize>(), end).prop_map(|(place, state)| Event::End(place, state)),
        2 => any::<usize>().prop_map(Event::ToldToStop),
        2 => (0..NODES, availability, 0..2_u8).prop_map(|(node, to, zone)| Event::Node(node, to, zone)),
        1 => (0..NODES).prop_map(Event::NodeGone),
        1 => (0..60_u64).prop_map(Event::Skip),
    ]
}

fn machine(number: usize, availability: Availability, zone: u8) -> Node {
    let mut node = labelled(&format!("n{number}"), &zone.to_string());
    node.spec.get_or_insert_default().availability = availability as i32;
    let resources = node.description.get_or_insert_default().resources.get_or_insert_default();
    resources.generic = vec![generic::named("gpu", "a"), generic::named("gpu", "b")];
    node
}

fn task_of(id: String, service: usize, wish: &Wish) -> Task {
    let reservations = Resources {
        nano_cpus: wish.cpus * CPU,
        generic: (wish.gpus > 0).then(|| generic::discrete("gpu", wish.gpus)).into_iter().collect(),
        ..Default::default()
    };
    let constraint = wish.zone.map(|zone| format!("node.labels.zone=={zone}"));
    let over = SpreadOver { spread_descriptor: "node.labels.zone".into() };
    let spread = placement_preference::Preference::Spread(over);
    let placement = Placement {
        constraints: constraint.into_iter().collect(),
        preferences: wish
            .by_zone
            .then_some(PlacementPreference { preference: Some(spread) })
            .into_iter()
            .collect(),
        max_replicas: wish.max_replicas,
        ..Default::default()
    };
    let ports = wish.port.map(|port| PortConfig {
        published_port: port,
        publish_mode: port_config::PublishMode::Host as i32,
        ..Default::default()
    });
    let spec = TaskSpec {
        resources: Some(ResourceRequirements {
            reservations: Some(reservations),
            ..Default::default()
        }),
        placement: Some(placement),
        ..Default::default()
    };
    Task {
        spec: Some(spec.into()),
        endpoint: Some(Endpoint { ports: ports.into_iter().collect(), ..Default::default() }),
        ..task(&id, &format!("s{service}"))
    }
}

fn happen(world: &mut World, event: &Event, wishes: &[Wish], next: &mut usize) {
    let placed = |world: &World| -> Vec<Task> {
        world
            .tables
            .iter::<Task>()
            .filter(|task| is_placed(task))
            .map(|task| Task::clone(task))
            .collect()
    };
    match event {
        Event::Tasks(service, count) => {
            for _ in 0..*count {
                *next += 1;
                create(world, [task_of(format!("t{next:05}"), *service, &wishes[*service])]);
            }
        }
        Event::End(place, state) => {
            let tasks = placed(world);
            if let Some(task) = tasks.get(place % tasks.len().max(1)) {
                world.apply(Write::UpdateTask(Box::new(with_state(task, *state))));
            }
        }
        Event::ToldToStop(place) => {
            let tasks = placed(world);
            if let Some(task) = tasks.get(place % tasks.len().max(1)) {
                let desired_state = TaskState::Shutdown as i32;
                world.apply(Write::UpdateTask(Box::new(Task { desired_state, ..task.clone() })));
            }
        }
        Event::Node(number, availability, zone) => {
            let node = machine(*number, *availability, *zone);
            if world.tables.get::<Node>(&node.id).is_some() {
                world.apply(Write::UpdateNode(Box::new(node)));
            } else {
                world.node(node);
            }
        }
        Event::NodeGone(number) => {
            let id = format!("n{number}");
            if let Ok(change) = world.tables.delete::<Node>(&id) {
                world.scheduler.observe(world.now, &world.tables, &change);
            }
        }
        Event::Skip(seconds) => world.now += Duration::from_secs(*seconds),
    }
}

/// Settles, and lets reasons be told that were put off.
fn settle(world: &mut World) {
    for _ in 0..20 {
        loop {
            for write in world.scheduler.plan(world.now, &world.tables.clone()) {
                world.apply(write);
            }
            if !world.scheduler.is_behind() {
                break;
            }
        }
        let Some(at) = world.scheduler.wakeup() else { return };
        world.now = world.now.max(at);
    }
    panic!("reasons are told for ever");
}

/// No node has more than it offers, but for what it was given before.
fn overcommitted(world: &World, old: &dyn Fn(&Task) -> bool) -> Option<String> {
    for node in world.tables.iter::<Node>() {
        let tasks: Vec<&Arc<Task>> =
            world.tables.tasks_by_node(&node.id).filter(|task| is_placed(task)).collect();
        let cpus: i64 = tasks.iter().map(|task| Demand::new(task).nano_cpus).sum();
        if cpus > 4 * CPU {
            return Some(format!("{} gives {cpus} of its CPUs", node.id));
        }
        let mut gpus: Vec<&str> = Vec::new();
        let mut ports = Vec::new();
        let mut of_service: BTreeMap<&str, u64> = BTreeMap::new();
        for task in &tasks {
            for generic in &task.assigned_generic_resources {
                if let Some(Resource::NamedResourceSpec(named)) = &generic.resource {
                    gpus.push(&named.value);
                }
            }
            ports.extend(task.endpoint.iter().flat_map(host_ports));
            if task.desired_state <= TaskState::Complete as i32 {
                let count = of_service.entry(&task.service_id).or_default();
                *count += 1;
                let limit = Demand::new(task).max_replicas;
                if limit > 0 && *count > limit && !old(task) {
                    return Some(format!("{} has {count} of {}", node.id, task.service_id));
                }
            }
        }
        let (named, published) = (gpus.len(), ports.len());
        gpus.sort_unstable();
        gpus.dedup();
        ports.sort_unstable();
        ports.dedup();
        if (gpus.len(), ports.len()) != (named, published) {
            return Some(format!("{} gives something twice: {gpus:?} {ports:?}", node.id));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_spread_never_differs_by_more_than_one_where_nodes_are_equal(
        nodes in 1..9_usize,
        batches in prop::collection::vec((0..SERVICES, 1..20_usize), 1..8),
    ) {
        let mut world = World::new();
        (0..SERVICES).for_each(|service| world.service(&format!("s{service}"), replicated()));
        (0..nodes).for_each(|number| world.node(node(&format!("n{number}"))));
        let mut next = 0;
        for (service, count) in batches {
            create(&mut world, (0..count).map(|_| {
                next += 1;
                task(&format!("t{next:05}"), &format!("s{service}"))
            }));
            world.settle();
            for service in 0..SERVICES {
                let mut counts = vec![0_usize; nodes];
                for task in world.tables.tasks_by_service(&format!("s{service}")) {
                    let number: usize = task.node_id[1..].parse().expect("a node");
                    counts[number] += 1;
                }
                let (least, most) = (counts.iter().min(), counts.iter().max());
                prop_assert!(most <= least.map(|least| least + 1).as_ref(), "{counts:?}");
            }
        }
        prop_assert_eq!(world.spread().values().sum::<usize>(), next, "each is placed once");
    }

    #[test]
    fn nothing_is_given_twice_and_nothing_waits_that_has_room(
        wishes in prop::collection::vec(wish(), SERVICES),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new();
        (0..SERVICES).for_each(|service| world.service(&format!("s{service}"), replicated()));
        (0..2).for_each(|number| world.node(machine(number, Availability::Active, number as u8)));
        let mut next = 0;
        for event in &events {
            let before = world.tables.clone();
            happen(&mut world, event, &wishes, &mut next);
            settle(&mut world);
            let old = |task: &Task| before.get::<Task>(&task.id).is_some_and(|task| is_placed(task));
            prop_assert_eq!(overcommitted(&world, &old), None, "after {:?}", event);
            prop_assert_eq!(world.tables.len::<Task>(), next, "tasks are neither lost nor made up");
            // What waits has room nowhere, and says so.
            let fresh = fresh(&world);
            for task in world.tables.iter::<Task>().filter(|task| is_waiting(task)) {
                let demand = Demand::new(task);
                let room = fresh.iter().find(|info| filter::check(&demand, &Around::default(), info).is_ok());
                prop_assert!(room.is_none(), "{} would fit after {event:?}", task.id);
                let explanation = filter::explain(&demand, &Around::default(), fresh.iter());
                let reason = crate::decision::no_suitable_node(&explanation);
                prop_assert_eq!(world.err(&task.id), &reason, "after {:?}", event);
            }
            let again = world.scheduler.plan(world.now, &world.tables.clone());
            prop_assert!(again.is_empty(), "a plan applied twice changes nothing");
        }
    }
}

fn is_waiting(task: &Task) -> bool {
    task.node_id.is_empty()
        && task.desired_state <= TaskState::Complete as i32
        && crate::node::observed(task) == TaskState::Pending as i32
}

/// The nodes as somebody counts them who comes anew.
fn fresh(world: &World) -> Vec<NodeInfo> {
    let info = |node: &Arc<Node>| {
        let mut info = NodeInfo::new(node.clone(), Default::default());
        let placed = world.tables.tasks_by_node(&node.id).filter(|task| is_placed(task));
        placed.for_each(|task| info.put(task.clone()));
        info
    };
    world.tables.iter::<Node>().map(info).collect()
}

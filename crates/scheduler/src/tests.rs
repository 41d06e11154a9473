//! Tables of placements: nodes and tasks in, who went where or why not out.

mod affinity;
mod properties;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::v1::{
    Annotations, Endpoint, EndpointSpec, GlobalService, Meta, Node, NodeDescription, NodeSpec,
    NodeStatus, Placement, PlacementPreference, PortConfig, ReplicatedService,
    ResourceRequirements, Resources, Service, ServiceSpec, SpreadOver, Task, TaskSpec, TaskState,
    TaskStatus, Version, node_spec, node_status, placement_preference, port_config, service_spec,
};
use swarm_store::{ControlLoop as _, Tables, Write};

use crate::Scheduler;
use crate::generic;

struct World {
    now: SystemTime,
    tables: Tables,
    scheduler: Scheduler,
}

impl World {
    fn new() -> Self {
        Self {
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            tables: Tables::default(),
            scheduler: Scheduler::default(),
        }
    }

    fn apply(&mut self, write: Write) {
        let change = match write {
            Write::CreateTask(task) => self.tables.create(*task),
            Write::UpdateTask(task) => self.tables.update(*task),
            Write::DeleteTask(id) => self.tables.delete::<Task>(&id),
            Write::UpdateNode(node) => self.tables.update(*node),
            other => panic!("the scheduler never plans {other:?}"),
        };
        let change = change.expect("the write applies");
        self.scheduler.observe(self.now, &self.tables, &change);
    }

    fn node(&mut self, node: Node) {
        let change = self.tables.create(node).expect("new");
        self.scheduler.observe(self.now, &self.tables, &change);
    }

    fn service(&mut self, id: &str, mode: service_spec::Mode) {
        let spec = ServiceSpec {
            annotations: Some(Annotations { name: id.into(), ..Default::default() }),
            mode: Some(mode),
            ..Default::default()
        };
        let service = Service {
            id: id.into(),
            spec: Some(spec),
            spec_version: Some(Version { index: 1 }),
            ..Default::default()
        };
        let change = self.tables.create(service).expect("new");
        self.scheduler.observe(self.now, &self.tables, &change);
    }

    /// Plans and applies until nothing is left, and checks that a plan is not repeated.
    fn settle(&mut self) {
        loop {
            for write in self.scheduler.plan(self.now, &self.tables.clone()) {
                self.apply(write);
            }
            if !self.scheduler.is_behind() {
                break;
            }
        }
        let again = self.scheduler.plan(self.now, &self.tables.clone());
        assert!(again.is_empty(), "a plan applied twice changes nothing");
        let mut fresh = Scheduler::default();
        fresh.resync(self.now, &self.tables);
        assert_eq!(fresh.plan(self.now, &self.tables), [], "a fresh scheduler has nothing to add");
    }

    fn spread(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for task in self.tables.iter::<Task>().filter(|task| !task.node_id.is_empty()) {
            *counts.entry(task.node_id.clone()).or_default() += 1;
        }
        counts
    }

    fn task(&self, id: &str) -> &Arc<Task> {
        self.tables.get::<Task>(id).expect("exists")
    }

    fn err(&self, id: &str) -> &str {
        self.task(id).status.as_ref().map_or("", |status| &status.err)
    }
}

fn replicated() -> service_spec::Mode {
    service_spec::Mode::Replicated(ReplicatedService { replicas: 1 })
}

fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        spec: Some(NodeSpec { annotations: Some(Annotations::default()), ..Default::default() }),
        status: Some(NodeStatus { state: node_status::State::Ready as i32, ..Default::default() }),
        description: Some(NodeDescription {
            resources: Some(Resources {
                nano_cpus: 4_000_000_000,
                memory_bytes: 4 << 30,
                generic: vec![],
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn labelled(id: &str, zone: &str) -> Node {
    let mut node = node(id);
    if let Some(annotations) = node.spec.as_mut().and_then(|spec| spec.annotations.as_mut()) {
        annotations.labels.insert("zone".into(), zone.into());
    }
    node
}

fn task(id: &str, service: &str) -> Task {
    Task {
        id: id.into(),
        meta: Some(Meta::default()),
        service_id: service.into(),
        spec: Some(TaskSpec::default().into()),
        spec_version: Some(Version { index: 1 }),
        desired_state: TaskState::Running as i32,
        status: Some(TaskStatus { state: TaskState::Pending as i32, ..Default::default() }),
        ..Default::default()
    }
}

fn reserving(task: Task, reservations: Resources) -> Task {
    let resources = ResourceRequirements { reservations: Some(reservations), ..Default::default() };
    let spec = TaskSpec { resources: Some(resources), ..Default::default() };
    Task { spec: Some(spec.into()), ..task }
}

fn placed(task: Task, placement: Placement) -> Task {
    let spec = TaskSpec { placement: Some(placement), ..Default::default() };
    Task { spec: Some(spec.into()), ..task }
}

fn constrained(task: Task, constraint: &str) -> Task {
    placed(task, Placement { constraints: vec![constraint.into()], ..Default::default() })
}

fn with_state(task: &Task, state: TaskState) -> Task {
    Task { status: Some(TaskStatus { state: state as i32, ..Default::default() }), ..task.clone() }
}

fn create(world: &mut World, tasks: impl IntoIterator<Item = Task>) {
    for task in tasks {
        world.apply(Write::CreateTask(Box::new(task)));
    }
}

#[test]
fn spreads_evenly_over_equal_nodes() {
    for (nodes, tasks) in [(1, 1), (3, 1), (3, 10), (4, 30), (7, 100)] {
        let mut world = World::new();
        world.service("s", replicated());
        (0..nodes).for_each(|n| world.node(node(&format!("n{n}"))));
        create(&mut world, (0..tasks).map(|t| task(&format!("t{t:04}"), "s")));
        world.settle();
        let counts = world.spread();
        assert_eq!(counts.values().sum::<usize>(), tasks);
        let most = counts.values().max().copied().unwrap_or_default();
        assert!(
            (0..nodes)
                .all(|n| counts.get(&format!("n{n}")).copied().unwrap_or_default() + 1 >= most),
            "{counts:?}"
        );
        let status = world.task("t0000").status.clone().expect("set");
        assert_eq!(
            (status.state, status.message.as_str()),
            (TaskState::Assigned as i32, "scheduler assigned task to node")
        );
    }
}

#[test]
fn fewest_of_the_service_come_before_fewest_in_all() {
    let mut world = World::new();
    world.service("a", replicated());
    world.service("b", replicated());
    world.node(node("n1"));
    create(&mut world, [task("a1", "a"), task("a2", "a"), task("b1", "b")]);
    world.settle();
    world.node(node("n2"));
    create(&mut world, [task("b2", "b"), task("b3", "b")]);
    world.settle();
    // n2 gets b2 as it has none of b, and b3 as it has fewer tasks in all.
    assert_eq!((&*world.task("b2").node_id, &*world.task("b3").node_id), ("n2", "n2"));
}

#[test]
fn says_why_nothing_fits() {
    let cpus = |n: i64| Resources { nano_cpus: n * 1_000_000_000, ..Default::default() };
    let os = |os: &str| Placement {
        platforms: vec![swarm_proto::v1::Platform { os: os.into(), ..Default::default() }],
        ..Default::default()
    };
    for (nodes, task, expect) in [
        (vec![], task("t", "s"), "no suitable node"),
        (
            vec![node("a")],
            reserving(task("t", "s"), cpus(5)),
            "no suitable node (insufficient resources on 1 node)",
        ),
        (
            vec![node("a"), node("b")],
            reserving(task("t", "s"), cpus(5)),
            "no suitable node (insufficient resources on 2 nodes)",
        ),
        (
            vec![labelled("a", "x"), node("b")],
            constrained(task("t", "s"), "node.labels.zone==y"),
            "no suitable node (scheduling constraints not satisfied on 2 nodes)",
        ),
        (
            vec![node("a")],
            placed(task("t", "s"), os("windows")),
            "no suitable node (unsupported platform on 1 node)",
        ),
        (
            vec![Node { status: None, ..node("a") }, node("b")],
            constrained(task("t", "s"), "node.id==c"),
            "no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 1 node)",
        ),
        (
            vec![Node { status: None, ..node("a") }, node("b"), node("c")],
            constrained(task("t", "s"), "node.id==d"),
            "no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)",
        ),
    ] {
        let mut world = World::new();
        world.service("s", replicated());
        nodes.into_iter().for_each(|node| world.node(node));
        create(&mut world, [task]);
        world.settle();
        assert_eq!(world.err("t"), expect);
        assert_eq!(world.task("t").node_id, "");
    }
}

#[test]
fn fills_nodes_and_goes_on_when_room_is_freed() {
    let mut world = World::new();
    world.service("s", replicated());
    ["n1", "n2"].into_iter().for_each(|id| world.node(node(id)));
    let half = Resources { nano_cpus: 2_000_000_000, memory_bytes: 1 << 30, generic: vec![] };
    create(&mut world, (0..5).map(|t| reserving(task(&format!("t{t}"), "s"), half.clone())));
    world.settle();
    assert_eq!(world.spread().into_values().collect::<Vec<_>>(), [2, 2]);
    assert_eq!(world.err("t4"), "no suitable node (insufficient resources on 2 nodes)");

    let done = with_state(world.task("t1"), TaskState::Failed);
    world.apply(Write::UpdateTask(Box::new(done)));
    world.settle();
    assert_eq!(
        (world.err("t4"), &*world.task("t4").node_id),
        ("", &*world.task("t1").node_id.clone())
    );
}

#[test]
fn what_waits_costs_a_new_task_nothing_but_its_reason() {
    let mut world = World::new();
    world.service("s", replicated());
    world.node(node("n1"));
    let all = Resources { nano_cpus: 4_000_000_000, ..Default::default() };
    let demanding = |id: &str| reserving(task(id, "s"), all.clone());
    create(&mut world, ["t0", "t1", "t2"].map(demanding));
    world.settle();
    create(&mut world, [demanding("t3")]);
    let told = world.scheduler.plan(world.now, &world.tables.clone());
    assert_eq!(told.len(), 1, "only the new one is written: {told:?}");
    told.into_iter().for_each(|write| world.apply(write));
    assert_eq!(world.err("t3"), "no suitable node (insufficient resources on 1 node)");

    // Another node takes one of them; the others' reason counts it.
    world.node(node("n2"));
    world.settle();
    assert_eq!(world.spread().values().sum::<usize>(), 2);
    let errs: Vec<&str> = ["t2", "t3"].iter().map(|id| world.err(id)).collect();
    assert_eq!(errs, ["no suitable node (insufficient resources on 2 nodes)"; 2]);
}

#[test]
fn old_reasons_are_told_anew_a_few_at_a_time() {
    let mut world = World::new();
    (0..300).for_each(|n| world.node(node(&format!("n{n:03}"))));
    for n in 0..100 {
        let id = format!("s{n:02}");
        world.service(&id, replicated());
        create(&mut world, [constrained(task(&id, &id), "node.labels.zone==x")]);
    }
    world.settle();
    world.node(node("n300"));
    let anew = "no suitable node (scheduling constraints not satisfied on 301 nodes)";
    let mut told = Vec::new();
    loop {
        let writes = world.scheduler.plan(world.now, &world.tables.clone());
        told.push(writes.len());
        writes.into_iter().for_each(|write| world.apply(write));
        let Some(wakeup) = world.scheduler.wakeup() else { break };
        world.now = wakeup;
    }
    assert_eq!(told, [66, 34]);
    assert!((0..100).all(|n| world.err(&format!("s{n:02}")) == anew));
}

#[test]
fn a_task_that_is_to_go_leaves_its_place_to_the_next() {
    let mut world = World::new();
    world.service("s", replicated());
    world.node(node("n1"));
    let one = Placement { max_replicas: 1, ..Default::default() };
    create(&mut world, ["t0", "t1"].map(|id| placed(task(id, "s"), one.clone())));
    world.settle();
    assert_eq!(world.err("t1"), "no suitable node (max replicas per node limit exceed)");
    let going = Task { desired_state: TaskState::Shutdown as i32, ..Task::clone(world.task("t0")) };
    world.apply(Write::UpdateTask(Box::new(going)));
    world.settle();
    assert_eq!((world.err("t1"), &*world.task("t1").node_id), ("", "n1"));
}

#[test]
fn a_node_that_grows_takes_what_waited() {
    let mut world = World::new();
    world.service("s", replicated());
    world.node(Node { description: None, ..node("n1") });
    create(
        &mut world,
        [reserving(task("t", "s"), Resources { memory_bytes: 1, ..Default::default() })],
    );
    world.settle();
    assert_eq!(world.task("t").node_id, "");
    world.apply(Write::UpdateNode(Box::new(node("n1"))));
    world.settle();
    assert_eq!(world.task("t").node_id, "n1");
}

#[test]
fn assigns_generic_resources() {
    let mut world = World::new();
    world.service("s", replicated());
    let offered =
        vec![generic::named("gpu", "a"), generic::named("gpu", "b"), generic::discrete("ssd", 1)];
    let mut offering = node("n1");
    offering.description = Some(NodeDescription {
        resources: Some(Resources { generic: offered, ..Default::default() }),
        ..Default::default()
    });
    world.node(offering);
    let one = Resources { generic: vec![generic::discrete("gpu", 1)], ..Default::default() };
    create(&mut world, (0..3).map(|t| reserving(task(&format!("t{t}"), "s"), one.clone())));
    world.settle();
    assert_eq!(world.task("t0").assigned_generic_resources, [generic::named("gpu", "a")]);
    assert_eq!(world.task("t1").assigned_generic_resources, [generic::named("gpu", "b")]);
    assert_eq!(world.err("t2"), "no suitable node (insufficient resources on 1 node)");
}

#[test]
fn host_ports_and_replica_limits_hold_within_a_group() {
    let mut world = World::new();
    world.service("p", replicated());
    world.service("m", replicated());
    ["n1", "n2"].into_iter().for_each(|id| world.node(node(id)));
    let port = PortConfig {
        target_port: 80,
        published_port: 8080,
        publish_mode: port_config::PublishMode::Host as i32,
        ..Default::default()
    };
    let endpoint =
        Endpoint { spec: Some(EndpointSpec::default()), ports: vec![port], virtual_ips: vec![] };
    create(
        &mut world,
        (0..3).map(|t| Task { endpoint: Some(endpoint.clone()), ..task(&format!("p{t}"), "p") }),
    );
    let limit = Placement { max_replicas: 1, ..Default::default() };
    create(&mut world, (0..3).map(|t| placed(task(&format!("m{t}"), "m"), limit.clone())));
    world.settle();
    assert_eq!(world.err("p2"), "no suitable node (host-mode port already in use on 2 nodes)");
    assert_eq!(world.err("m2"), "no suitable node (max replicas per node limit exceed)");
    assert_eq!(world.spread().into_values().collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn preferences_spread_over_label_values_first() {
    let mut world = World::new();
    world.service("s", replicated());
    for (id, zone) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")] {
        world.node(labelled(id, zone));
    }
    let spread = SpreadOver { spread_descriptor: "node.labels.zone".into() };
    let preference =
        PlacementPreference { preference: Some(placement_preference::Preference::Spread(spread)) };
    let placement = Placement { preferences: vec![preference], ..Default::default() };
    create(&mut world, (0..6).map(|t| placed(task(&format!("t{t}"), "s"), placement.clone())));
    world.settle();
    assert_eq!(world.spread().into_values().collect::<Vec<_>>(), [1, 1, 1, 3]);
}

#[test]
fn a_node_where_a_service_keeps_failing_comes_last() {
    let mut world = World::new();
    world.service("s", replicated());
    ["n1", "n2"].into_iter().for_each(|id| world.node(node(id)));
    for attempt in 0..5 {
        let id = format!("f{attempt}");
        create(&mut world, [constrained(task(&id, "s"), "node.id==n1")]);
        world.settle();
        let failed = Task {
            desired_state: TaskState::Shutdown as i32,
            ..with_state(world.task(&id), TaskState::Failed)
        };
        world.apply(Write::UpdateTask(Box::new(failed)));
    }
    create(&mut world, (0..4).map(|t| task(&format!("t{t}"), "s")));
    world.settle();
    assert!((0..4).all(|t| world.task(&format!("t{t}")).node_id == "n2"));
}

#[test]
fn checks_tasks_that_came_with_a_node() {
    let mut world = World::new();
    world.service("g", service_spec::Mode::Global(GlobalService {}));
    world.node(node("n1"));
    let huge = Resources { memory_bytes: 1 << 40, ..Default::default() };
    create(
        &mut world,
        [
            Task { node_id: "n1".into(), ..task("fits", "g") },
            Task { node_id: "n1".into(), ..reserving(task("huge", "g"), huge) },
            Task { node_id: "gone".into(), ..task("lost", "g") },
        ],
    );
    world.settle();
    let message = world.task("fits").status.as_ref().map(|status| status.message.clone());
    assert_eq!(message.as_deref(), Some("scheduler confirmed task can run on preassigned node"));
    assert_eq!(world.err("huge"), "insufficient resources on 1 node");
    assert_eq!(world.err("lost"), "");
}

#[test]
fn never_places_what_is_not_wanted() {
    let mut world = World::new();
    world.service("s", replicated());
    world.node(node("n1"));
    for (id, desired) in
        [("down", TaskState::Shutdown), ("gone", TaskState::Remove), ("job", TaskState::Complete)]
    {
        create(&mut world, [Task { desired_state: desired as i32, ..task(id, "s") }]);
    }
    world.settle();
    let states: Vec<_> = ["down", "gone", "job"]
        .map(|id| {
            (
                &*world.task(id).node_id,
                world.task(id).status.as_ref().map_or(0, |status| status.state),
            )
        })
        .into();
    let (shutdown, pending, assigned) =
        (TaskState::Shutdown as i32, TaskState::Pending as i32, TaskState::Assigned as i32);
    assert_eq!(states, [("", shutdown), ("", pending), ("n1", assigned)]);
}

#[test]
fn paused_and_drained_nodes_get_nothing() {
    for availability in [node_spec::Availability::Pause, node_spec::Availability::Drain] {
        let mut world = World::new();
        world.service("s", replicated());
        let mut closed = node("n1");
        closed.spec = Some(NodeSpec { availability: availability as i32, ..Default::default() });
        world.node(closed);
        create(&mut world, [task("t", "s")]);
        world.settle();
        assert_eq!(world.err("t"), "no suitable node (1 node not available for new tasks)");
    }
}

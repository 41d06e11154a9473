//! Services beside each other and apart: tables of what is said, and a property against a model that looks at every task.

use proptest::prelude::*;

use super::*;
use crate::node::{is_active, is_placed, observed};

fn service(id: &str, label: &str, placement: &Placement) -> Service {
    let labels = [("tier".to_owned(), label.to_owned())].into();
    let task = TaskSpec { placement: Some(placement.clone()), ..Default::default() };
    let spec = ServiceSpec {
        annotations: Some(Annotations { name: id.into(), labels, ..Default::default() }),
        task: Some(task.into()),
        mode: Some(replicated()),
        ..Default::default()
    };
    Service {
        id: id.into(),
        spec: Some(spec),
        spec_version: Some(Version { index: 1 }),
        ..Default::default()
    }
}

fn placement(constraints: &[&str], preferences: &[&str]) -> Placement {
    let preference = |over: &&str| {
        let over = SpreadOver { spread_descriptor: (*over).to_owned() };
        PlacementPreference { preference: Some(placement_preference::Preference::Spread(over)) }
    };
    Placement {
        constraints: constraints.iter().map(|constraint| (*constraint).to_owned()).collect(),
        preferences: preferences.iter().map(preference).collect(),
        ..Default::default()
    }
}

impl World {
    fn with(&mut self, service: Service) {
        let change = self.tables.create(service).expect("new");
        self.scheduler.observe(self.now, &self.tables, &change);
    }

    fn change(&mut self, service: Service) {
        let change = self.tables.update(service).expect("known");
        self.scheduler.observe(self.now, &self.tables, &change);
    }

    /// So many tasks of a service that is there.
    fn tasks(&mut self, service: &str, count: usize) {
        let spec = self.tables.get::<Service>(service).and_then(|service| service.spec.clone());
        let spec = spec.and_then(|spec| spec.task);
        let known = self.tables.tasks_by_service(service).count();
        for number in known..known + count {
            let id = format!("{service}-{number:02}");
            create(self, [Task { spec: spec.clone(), ..task(&id, service) }]);
        }
    }

    fn end(&mut self, id: &str, state: TaskState) {
        let task = with_state(self.task(id), state);
        self.apply(Write::UpdateTask(Box::new(task)));
    }

    fn stop(&mut self, id: &str) {
        let desired_state = TaskState::Shutdown as i32;
        let task = Task { desired_state, ..Task::clone(self.task(id)) };
        self.apply(Write::UpdateTask(Box::new(task)));
    }

    fn nodes_of(&self, service: &str) -> Vec<String> {
        let tasks = self.tables.tasks_by_service(service);
        let mut nodes: Vec<_> = tasks.map(|task| task.node_id.clone()).collect();
        nodes.sort();
        nodes
    }

    /// Settles with reasons told that were put off.
    fn settle_all(&mut self) {
        for _ in 0..30 {
            let writes = self.scheduler.plan(self.now, &self.tables.clone());
            let is_quiet = writes.is_empty() && !self.scheduler.is_behind();
            writes.into_iter().for_each(|write| self.apply(write));
            match self.scheduler.wakeup() {
                Some(at) => self.now = self.now.max(at),
                None if is_quiet => return,
                None => {}
            }
        }
        panic!("the scheduler does not settle");
    }
}

fn three_nodes() -> World {
    let mut world = World::new();
    (1..=3).for_each(|number| world.node(node(&format!("n{number}"))));
    world
}

#[test]
fn a_service_goes_where_others_are_or_are_not() {
    // Each after `web`, labelled `front`, of one task, which is on n1; with two tasks.
    for (constraint, nodes, reason) in [
        ("service.name!=web", &["n2", "n3"][..], ""),
        ("service.name != WEB", &["n2", "n3"], ""),
        ("service.name==web", &["n1", "n1"], ""),
        ("service.labels.tier!=front", &["n2", "n3"], ""),
        ("service.label.tier==Front", &["n1", "n1"], ""),
        // Its own label: its first task goes where least is, the second beside it.
        ("service.labels.tier==back", &["n2", "n2"], ""),
        ("service.name!=nobody", &["n2", "n3"], ""),
        ("service.name==nobody", &["", ""], "not beside service nobody on 3 nodes"),
        (
            "service.labels.tier==none",
            &["", ""],
            "not beside services labelled tier=none on 3 nodes",
        ),
        ("service.nam==web", &["", ""], "scheduling constraints not satisfied on 3 nodes"),
    ] {
        let mut world = three_nodes();
        world.with(service("web", "front", &Placement::default()));
        world.tasks("web", 1);
        world.settle();
        world.with(service("cache", "back", &placement(&[constraint], &[])));
        world.tasks("cache", 2);
        world.settle();
        assert_eq!(world.nodes_of("cache"), nodes, "{constraint}");
        if !reason.is_empty() {
            assert_eq!(world.err("cache-00"), format!("no suitable node ({reason})"));
        }
    }
}

#[test]
fn what_is_apart_is_so_both_ways_and_each_says_why() {
    let mut world = three_nodes();
    world.with(service("cache", "", &placement(&["service.name!=web"], &[])));
    world.with(service("web", "", &Placement::default()));
    world.tasks("cache", 3);
    world.settle();
    world.tasks("web", 2);
    world.settle();
    assert_eq!(world.nodes_of("web"), ["", ""]);
    assert_eq!(world.err("web-00"), "no suitable node (kept apart by service cache on 3 nodes)");
    // Told to stop is not yet gone.
    world.stop("cache-01");
    world.settle_all();
    assert_eq!(world.nodes_of("web"), ["", ""]);
    let freed = world.task("cache-01").node_id.clone();
    world.end("cache-01", TaskState::Shutdown);
    world.settle_all();
    assert_eq!(world.nodes_of("web"), [freed.clone(), freed.clone()]);
    world.tasks("cache", 1);
    world.settle();
    assert_eq!(world.task("cache-03").node_id, world.task("cache-00").node_id);
    // The rule goes, and with it what it kept.
    world.node(Node { status: None, ..node("n4") });
    world.change(service("cache", "", &Placement::default()));
    world.tasks("web", 2);
    world.settle_all();
    assert!(!world.nodes_of("web").contains(&String::new()));
}

#[test]
fn one_task_a_node_where_a_service_is_apart_from_itself() {
    let mut world = three_nodes();
    world.with(service("db", "", &placement(&["service.name!=db"], &[])));
    world.tasks("db", 4);
    world.settle();
    assert_eq!(world.nodes_of("db"), ["", "n1", "n2", "n3"]);
    let reason = "no suitable node (kept apart from its own service on 3 nodes)";
    assert_eq!(world.err("db-03"), reason);
    assert_eq!(crate::reason::conflicts(reason), [crate::reason::Conflict::OwnService]);
    world.stop("db-01");
    world.settle();
    assert_eq!(world.task("db-03").node_id, world.task("db-01").node_id);
}

#[test]
fn the_first_of_those_that_keep_together_chooses_for_all() {
    let mut world = three_nodes();
    world.with(service("a", "", &placement(&["service.name==a"], &[])));
    world.with(service("b", "team", &placement(&["service.labels.tier==team"], &[])));
    world.with(service("c", "team", &placement(&["service.labels.tier==team"], &[])));
    world.tasks("a", 3);
    world.tasks("b", 2);
    world.tasks("c", 2);
    world.settle();
    for services in [&["a"][..], &["b", "c"]] {
        let mut nodes: Vec<_> =
            services.iter().flat_map(|service| world.nodes_of(service)).collect();
        nodes.dedup();
        assert_eq!(nodes.len(), 1, "{services:?}: {nodes:?}");
        assert_ne!(nodes[0], "");
    }
    // Once none is left, the next chooses anew, though it waited for the others' node before.
    let home = world.task("a-00").node_id.clone();
    let mut paused = node(&home);
    paused.spec.get_or_insert_default().availability = node_spec::Availability::Pause as i32;
    world.apply(Write::UpdateNode(Box::new(paused)));
    world.tasks("a", 1);
    world.settle_all();
    assert_eq!(
        world.err("a-03"),
        "no suitable node (not beside service a on 2 nodes; 1 node not available for new tasks)"
    );
    (0..3).for_each(|number| world.end(&format!("a-{number:02}"), TaskState::Failed));
    world.settle_all();
    let next = &world.task("a-03").node_id;
    assert!(!next.is_empty() && *next != home, "{next}");
}

#[test]
fn a_follower_is_placed_when_the_other_is_and_a_circle_waits() {
    let mut world = three_nodes();
    world.with(service("app", "", &placement(&["service.name==db"], &[])));
    world.tasks("app", 2);
    world.settle();
    assert_eq!(world.err("app-00"), "no suitable node (not beside service db on 3 nodes)");
    world.with(service("db", "", &Placement::default()));
    world.tasks("db", 1);
    world.settle_all();
    let home = &world.task("db-00").node_id;
    assert_eq!(world.nodes_of("app"), [home.clone(), home.clone()]);
    world.with(service("x", "", &placement(&["service.name==y"], &[])));
    world.with(service("y", "", &placement(&["service.name==x"], &[])));
    world.tasks("x", 1);
    world.tasks("y", 1);
    world.settle_all();
    assert_eq!(world.err("x-00"), "no suitable node (not beside service y on 3 nodes)");
    assert_eq!(world.err("y-00"), "no suitable node (not beside service x on 3 nodes)");
}

#[test]
fn a_preference_chooses_among_the_nodes_that_fit() {
    for (preference, tasks, expect) in [
        ("service.name!=web", 4, [0, 2, 2]),
        ("service.name==web", 4, [4, 0, 0]),
        ("service.name==cache", 3, [0, 3, 0]),
        ("service.name==nobody", 3, [1, 1, 1]),
    ] {
        let mut world = three_nodes();
        world.with(service("web", "", &Placement::default()));
        world.tasks("web", 1);
        world.settle();
        world.with(service("cache", "", &placement(&[], &[preference])));
        world.tasks("cache", tasks);
        world.settle();
        let nodes = world.nodes_of("cache");
        let count = |name: &str| nodes.iter().filter(|node| *node == name).count();
        assert_eq!(["n1", "n2", "n3"].map(count), expect, "{preference}");
    }
}

#[test]
fn a_global_service_s_task_waits_for_its_neighbour() {
    let mut world = three_nodes();
    let mut agent = service("agent", "", &placement(&["service.name==db"], &[]));
    agent.spec.get_or_insert_default().mode =
        Some(service_spec::Mode::Global(GlobalService::default()));
    let spec = agent.spec.as_ref().and_then(|spec| spec.task.clone());
    world.with(agent);
    world.with(service("db", "", &Placement::default()));
    let on = |node: &str| Task {
        spec: spec.clone(),
        node_id: node.to_owned(),
        ..task(&format!("agent-{node}"), "agent")
    };
    create(&mut world, ["n1", "n2"].map(on));
    world.settle();
    assert_eq!(world.err("agent-n1"), "not beside service db on 1 node");
    world.tasks("db", 1);
    world.settle_all();
    assert_eq!(observed(world.task("agent-n1")), TaskState::Assigned as i32);
    assert_eq!(observed(world.task("agent-n2")), TaskState::Pending as i32);
}

/// What a service says: of itself, of others by name, or by label.
fn rule() -> impl Strategy<Value = Option<(bool, &'static str, &'static str)>> {
    let what = prop::sample::select(vec![
        ("name", "s0"),
        ("name", "s1"),
        ("name", "s2"),
        ("labels.tier", "x"),
        ("labels.tier", "y"),
    ]);
    prop::option::weighted(
        0.7,
        (prop::bool::weighted(0.3), what).prop_map(|(wanted, (key, value))| (wanted, key, value)),
    )
}

type Rule = Option<(bool, &'static str, &'static str)>;

#[derive(Debug, Clone)]
enum Event {
    Tasks(usize, usize),
    Stop(usize),
    End(usize),
    Rule(usize, Rule),
    Node(usize, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3_usize, 1..4_usize).prop_map(|(service, count)| Event::Tasks(service, count)),
        2 => any::<usize>().prop_map(Event::Stop),
        3 => any::<usize>().prop_map(Event::End),
        1 => (0..3_usize, rule()).prop_map(|(service, rule)| Event::Rule(service, rule)),
        1 => (0..4_usize, any::<bool>()).prop_map(|(node, up)| Event::Node(node, up)),
    ]
}

/// The model: services by what they say, `s0` and `s1` labelled x, `s2` y.
struct Model([Rule; 3]);

const LABELS: [&str; 3] = ["x", "x", "y"];

impl Model {
    fn means(rule: &Rule, service: usize) -> bool {
        match rule {
            Some((_, "name", name)) => *name == format!("s{service}"),
            Some((_, _, label)) => *label == LABELS[service],
            None => false,
        }
    }

    fn wants_apart(&self, one: usize, other: usize) -> bool {
        self.0[one].is_some_and(|rule| !rule.0) && Self::means(&self.0[one], other)
    }

    /// Whether a task of a service may go to a node, by a look at every task; `own` is what the task itself says.
    fn allows(&self, world: &World, service: usize, own: &Rule, node: &str) -> bool {
        let on = |node: &str, other: usize, placed: bool| {
            world
                .tables
                .tasks_by_service(&format!("s{other}"))
                .any(|task| task.node_id == node && is_placed(task) && (placed || is_active(task)))
        };
        let apart = |other: usize| {
            let own_apart = own.is_some_and(|rule| !rule.0) && Self::means(own, other);
            own_apart || (other != service && self.wants_apart(other, service))
        };
        if (0..3).any(|other| apart(other) && on(node, other, other != service)) {
            return false;
        }
        if !own.is_some_and(|rule| rule.0) {
            return true;
        }
        let meant: Vec<usize> = (0..3).filter(|other| Self::means(own, *other)).collect();
        let anywhere =
            (0..4).any(|number| meant.iter().any(|other| on(&format!("n{number}"), *other, false)));
        meant.iter().any(|other| on(node, *other, false)) || (meant.contains(&service) && !anywhere)
    }
}

fn described(number: usize, rule: &Rule) -> Service {
    let constraint = rule.map(|(wanted, key, value)| {
        format!("service.{key}{}{value}", if wanted { "==" } else { "!=" })
    });
    let constraints: Vec<&str> = constraint.iter().map(String::as_str).collect();
    service(&format!("s{number}"), LABELS[number], &placement(&constraints, &[]))
}

fn rule_of(task: &Task) -> Rule {
    let text = task.spec.as_ref()?.placement.as_ref()?.constraints.first()?.clone();
    let rules = ["s0", "s1", "s2"].map(|name| ("name", name)).into_iter();
    let rules = rules.chain([("labels.tier", "x"), ("labels.tier", "y")]);
    rules.flat_map(|(key, value)| [(true, key, value), (false, key, value)]).find(
        |(wanted, key, value)| {
            text == format!("service.{key}{}{value}", if *wanted { "==" } else { "!=" })
        },
    )
}

fn number(task: &Task) -> usize {
    task.service_id[1..].parse().expect("a service")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn who_is_beside_whom_is_as_a_look_at_every_task_says(
        rules in prop::array::uniform3(rule()),
        events in prop::collection::vec(event(), 1..30),
    ) {
        let mut world = World::new();
        (0..4).for_each(|number| world.node(node(&format!("n{number}"))));
        let mut model = Model(rules);
        (0..3).for_each(|number| world.with(described(number, &rules[number])));
        for event in &events {
            let placed: Vec<String> = world
                .tables
                .iter::<Task>()
                .filter(|task| is_placed(task))
                .map(|task| task.id.clone())
                .collect();
            let pick = |place: usize| placed.get(place % placed.len().max(1)).cloned();
            match event {
                Event::Tasks(service, count) => world.tasks(&format!("s{service}"), *count),
                Event::Stop(place) => pick(*place).iter().for_each(|id| world.stop(id)),
                Event::End(place) => {
                    pick(*place).iter().for_each(|id| world.end(id, TaskState::Complete));
                }
                Event::Rule(service, rule) => {
                    model.0[*service] = *rule;
                    world.change(described(*service, rule));
                }
                Event::Node(number, up) => {
                    let id = format!("n{number}");
                    let status = node(&id).status.filter(|_| *up);
                    world.apply(Write::UpdateNode(Box::new(Node { status, ..node(&id) })));
                }
            }
            // Each write of a plan is judged by what was there when it was made.
            for _ in 0..20 {
                for write in world.scheduler.plan(world.now, &world.tables.clone()) {
                    let Write::UpdateTask(task) = &write else { panic!("{write:?}") };
                    if !task.node_id.is_empty() {
                        let allowed = model.allows(&world, number(task), &rule_of(task), &task.node_id);
                        prop_assert!(allowed, "{} on {} after {event:?}", task.id, task.node_id);
                    }
                    world.apply(write);
                }
                match world.scheduler.wakeup() {
                    Some(at) => world.now = world.now.max(at),
                    None if !world.scheduler.is_behind() => break,
                    None => {}
                }
            }
            for task in world.tables.iter::<Task>() {
                let waits = task.node_id.is_empty() && is_active(task);
                let ready = world.tables.iter::<Node>().filter(|node| node.status.is_some());
                for node in ready.filter(|_| waits) {
                    let allowed = model.allows(&world, number(task), &rule_of(task), &node.id);
                    prop_assert!(!allowed, "{} waits, and {} would do after {event:?}", task.id, node.id);
                }
            }
            let mut fresh = Scheduler::default();
            fresh.resync(world.now, &world.tables);
            prop_assert_eq!(fresh.plan(world.now, &world.tables), [], "a fresh scheduler has nothing to add");
        }
    }
}

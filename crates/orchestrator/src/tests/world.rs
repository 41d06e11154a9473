//! A cluster without machines: tables, every control loop in the driver's order, and obedient agents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::id::{IdSource, format_id};
use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{
    Annotations, ContainerSpec, Meta, Node, NodeDescription, NodeSpec, NodeStatus,
    ReplicatedService, Service, ServiceSpec, Task, TaskSpec, TaskState, TaskStatus, Version,
    node_status,
};
use swarm_store::{Change, ControlLoop, Object, Tables, Write};

/// No cluster of these tests needs more rounds to settle; more means that two loops work against each other.
const ROUNDS_MAX: usize = 100;

pub(crate) struct World {
    pub(crate) now: SystemTime,
    pub(crate) tables: Tables,
    version: u64,
    loops: Vec<Box<dyn ControlLoop>>,
    /// Tasks whose image fails as soon as it starts.
    pub(crate) broken_image: Option<String>,
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let mut world = Self {
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            tables: Tables::default(),
            version: 0,
            loops: loops(0),
            broken_image: None,
        };
        for number in 1..=nodes {
            world.create(node(&format!("swarm{number}")));
        }
        world
    }

    fn show(&mut self, change: &Change) {
        for control_loop in &mut self.loops {
            control_loop.observe(self.now, &self.tables, change);
        }
    }

    pub(crate) fn create<T: Object>(&mut self, mut object: T) {
        self.version += 1;
        let now = from_system_time(self.now);
        let version = Some(Version { index: self.version });
        *meta(&mut object) = Meta { version, created_at: Some(now), updated_at: Some(now) };
        let change = self.tables.create(object).expect("the identifier is new");
        self.show(&change);
    }

    pub(crate) fn change<T: Object>(&mut self, id: &str, change: impl FnOnce(&mut T)) {
        let mut object = T::clone(self.tables.get::<T>(id).expect("the object exists"));
        change(&mut object);
        self.put(object);
    }

    /// Updates as the store does: only on top of what the writer saw.
    fn put<T: Object>(&mut self, mut object: T) {
        let stored = self.tables.get::<T>(object.id()).expect("the object exists");
        assert_eq!(stored.version(), object.version(), "update out of sequence");
        self.version += 1;
        meta(&mut object).version = Some(Version { index: self.version });
        meta(&mut object).updated_at = Some(from_system_time(self.now));
        let change = self.tables.update(object).expect("the object exists");
        self.show(&change);
    }

    pub(crate) fn delete<T: Object>(&mut self, id: &str) {
        let change = self.tables.delete::<T>(id).expect("the object exists");
        self.show(&change);
    }

    /// Runs the loops as the driver does: each on the outcome of those before, until nobody wants anything.
    pub(crate) fn plan(&mut self) {
        self.plan_counting();
    }

    /// As [`World::plan`]; how many writes the largest plan of a loop held.
    pub(crate) fn plan_counting(&mut self) -> usize {
        let mut most = 0;
        for _ in 0..ROUNDS_MAX {
            let mut quiet = true;
            for index in 0..self.loops.len() {
                let tables = self.tables.clone();
                let writes = self
                    .loops
                    .get_mut(index)
                    .map(|it| it.plan(self.now, &tables))
                    .unwrap_or_default();
                quiet &= writes.is_empty();
                most = most.max(writes.len());
                writes.into_iter().for_each(|write| self.write(write));
            }
            if quiet {
                return most;
            }
        }
        panic!("the loops do not come to rest");
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::CreateTask(task) => self.create(*task),
            Write::UpdateTask(task) => self.put(*task),
            Write::DeleteTask(id) => self.delete::<Task>(&id),
            Write::UpdateService(service) => self.put(*service),
            other => panic!("no loop plans {other:?}"),
        }
    }

    /// Lets every agent that is up take each of its tasks one step towards what is desired; whether any did.
    pub(crate) fn agents(&mut self) -> bool {
        self.agents_with(|_| true)
    }

    /// Lets agents take those of their tasks a step that are picked.
    pub(crate) fn agents_with(&mut self, mut picks: impl FnMut(&Task) -> bool) -> bool {
        let tasks: Vec<Arc<Task>> =
            self.tables.iter::<Task>().filter(|task| picks(task)).cloned().collect();
        let mut moved = false;
        for task in tasks {
            let up = self
                .tables
                .get::<Node>(&task.node_id)
                .is_some_and(|node| state_of(node) == node_status::State::Ready);
            let broken =
                self.broken_image.is_some() && self.broken_image.as_deref() == image(&task);
            if let Some(next) = up.then(|| next_state(&task, broken)).flatten() {
                self.report(&task.id, next);
                moved = true;
            }
        }
        moved
    }

    pub(crate) fn report(&mut self, id: &str, state: TaskState) {
        let timestamp = Some(from_system_time(self.now));
        self.change::<Task>(id, |task| {
            task.status =
                Some(TaskStatus { state: state as i32, timestamp, ..TaskStatus::default() });
        });
    }

    /// Plans and lets the agents work until both rest, without any time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.plan();
            if !self.agents() {
                self.check();
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Lets time pass, waking the loops when they ask for it.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        self.settle();
        while let Some(at) =
            self.loops.iter().filter_map(|it| it.wakeup()).min().filter(|at| *at <= end)
        {
            assert!(at > self.now, "a loop asks to be woken in the past");
            self.now = at;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Lets time pass at once, without anybody looking in between.
    pub(crate) fn skip(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// A change of leader: new loops, that know nothing but the tables.
    pub(crate) fn new_leader(&mut self) {
        self.loops = loops(self.version);
        for control_loop in &mut self.loops {
            control_loop.resync(self.now, &self.tables);
        }
    }

    /// What always holds at rest: no slot of a replicated service has two tasks that are to run.
    fn check(&self) {
        let mut slots = BTreeMap::new();
        for task in self
            .tables
            .iter::<Task>()
            .filter(|task| task.desired_state <= TaskState::Running as i32)
        {
            let slot = (
                task.service_id.clone(),
                task.slot,
                if task.slot == 0 { task.node_id.clone() } else { String::new() },
            );
            *slots.entry(slot).or_insert(0) += 1;
        }
        assert!(slots.values().all(|count| *count <= 2), "{slots:?}");
    }

    /// How many tasks run, by node.
    pub(crate) fn running(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for task in self.tables.iter::<Task>().filter(|task| is_running(task)) {
            *counts.entry(task.node_id.as_str()).or_default() += 1;
        }
        counts
    }

    pub(crate) fn service(&mut self, id: &str, mode: Mode) {
        let container = ContainerSpec { image: "alpine".into(), ..Default::default() };
        let task = TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() };
        let spec = ServiceSpec {
            annotations: Some(Annotations { name: id.into(), ..Default::default() }),
            task: Some(task.into()),
            mode: Some(mode),
            ..Default::default()
        };
        let spec_version = Some(Version { index: self.version + 1 });
        self.create(Service {
            id: id.into(),
            spec: Some(spec),
            spec_version,
            ..Default::default()
        });
    }

    pub(crate) fn replicated(&mut self, id: &str, replicas: u64) {
        self.service(id, Mode::Replicated(ReplicatedService { replicas }));
    }

    /// Updates a service's specification as the control service does.
    pub(crate) fn update(&mut self, id: &str, change: impl FnOnce(&mut ServiceSpec)) {
        let index = self.version + 1;
        self.change::<Service>(id, |service| {
            service.previous_spec = service.spec.clone();
            service.previous_spec_version = service.spec_version;
            service.spec_version = Some(Version { index });
            service.update_status = None;
            change(service.spec.get_or_insert_default());
        });
    }

    pub(crate) fn scale(&mut self, id: &str, replicas: u64) {
        self.update(id, |spec| spec.mode = Some(Mode::Replicated(ReplicatedService { replicas })));
        self.pass(60);
    }

    pub(crate) fn availability(&mut self, node: &str, availability: Availability) {
        self.change::<Node>(node, |node| {
            node.spec.get_or_insert_default().set_availability(availability)
        });
    }

    pub(crate) fn down(&mut self, node: &str) {
        let down_since = Some(from_system_time(self.now));
        self.change::<Node>(node, |node| {
            let status = node.status.get_or_insert_default();
            status.set_state(node_status::State::Down);
            status.down_since = down_since;
        });
    }

    pub(crate) fn up(&mut self, node: &str) {
        self.change::<Node>(node, |node| {
            let status = node.status.get_or_insert_default();
            status.set_state(node_status::State::Ready);
            status.down_since = None;
        });
    }

    /// How a service's update stands, and what is said of it.
    pub(crate) fn update_status(&self, service: &str) -> (UpdateState, String) {
        let service = self.tables.get::<Service>(service).expect("exists");
        let status = service.update_status.clone().unwrap_or_default();
        (status.state(), status.message)
    }
}

fn loops(seed: u64) -> Vec<Box<dyn ControlLoop>> {
    let ids = || -> IdSource {
        let mut next = u128::from(seed) << 64;
        Box::new(move || {
            next += 2;
            format_id(next)
        })
    };
    let orchestrators = crate::control_loops(ids);
    orchestrators
        .into_iter()
        .chain(swarm_allocator::control_loops())
        .chain(swarm_scheduler::control_loops())
        .collect()
}

/// The meta data of an object.
fn meta<T: Object>(object: &mut T) -> &mut Meta {
    object.meta_mut()
}

fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus { state: node_status::State::Ready as i32, ..Default::default() }),
        description: Some(NodeDescription { hostname: id.into(), ..Default::default() }),
        ..Default::default()
    }
}

fn state_of(node: &Node) -> node_status::State {
    node.status.as_ref().map_or(node_status::State::Unknown, NodeStatus::state)
}

pub(crate) fn image(task: &Task) -> Option<&str> {
    match task.spec.as_ref()?.runtime.as_ref()? {
        Runtime::Container(container) => Some(&container.image),
        _ => None,
    }
}

pub(crate) fn set_image(spec: &mut ServiceSpec, image: &str) {
    if let Some(Runtime::Container(container)) = spec.task.get_or_insert_default().runtime.as_mut()
    {
        container.image = image.into();
    }
}

pub(crate) fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |status| status.state)
}

pub(crate) fn is_running(task: &Task) -> bool {
    state(task) == TaskState::Running as i32 && task.desired_state == TaskState::Running as i32
}

/// What an agent reports next, if anything.
fn next_state(task: &Task, broken: bool) -> Option<TaskState> {
    let (state, desired) = (state(task), task.desired_state);
    if state < TaskState::Assigned as i32 || state > TaskState::Running as i32 {
        None
    } else if desired > TaskState::Complete as i32 {
        Some(TaskState::Shutdown)
    } else if state < TaskState::Ready as i32 {
        Some(TaskState::Ready)
    } else if desired < TaskState::Running as i32 || state == TaskState::Running as i32 {
        None
    } else if broken {
        Some(TaskState::Failed)
    } else {
        Some(TaskState::Running)
    }
}

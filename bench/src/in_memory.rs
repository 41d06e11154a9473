//! Measurements that need no machines: the pure scheduler on a store in memory, in the shapes of SwarmKit's own
//! benchmarks (`BenchmarkScheduler…` of its package `manager/scheduler`).
//!
//! Nodes and tasks are there in one transaction; the clock runs until every task has a node, the store's writes
//! included, as in SwarmKit's. Its tasks belong to no service, ours to services of a hundred tasks each.

use std::time::Instant;

use anyhow::{Result, ensure};
use swarm_proto::v1::{
    Driver, EngineDescription, Network, NetworkAttachment, Node, NodeDescription, NodeStatus,
    PluginDescription, Service, Task, TaskState, TaskStatus, Version, node_status,
};
use swarm_store::{ControlLoop, Error, ImmediateProposer, LoopDriver, Rest, Store};

use crate::interrupt::check;
use crate::measure::{Goal, Samples};

const TASKS_PER_SERVICE: usize = 100;

/// One shape, and what SwarmKit needs for it on the machine that the goals were set on.
struct Shape {
    figure: &'static str,
    nodes: usize,
    tasks: usize,
    /// Only every third node has what the tasks need.
    is_constrained: bool,
    goal: f64,
    rounds: usize,
}

const SHAPES: [Shape; 5] = [
    Shape {
        figure: "schedule 1,000 tasks on 1,000 nodes (SwarmKit 0.29 s)",
        nodes: 1_000,
        tasks: 1_000,
        is_constrained: false,
        goal: 0.01,
        rounds: 5,
    },
    Shape {
        figure: "schedule 10,000 tasks on 1,000 nodes (SwarmKit 2.5 s)",
        nodes: 1_000,
        tasks: 10_000,
        is_constrained: false,
        goal: 0.1,
        rounds: 5,
    },
    Shape {
        figure: "schedule 100,000 tasks on 1,000 nodes (SwarmKit 38 s)",
        nodes: 1_000,
        tasks: 100_000,
        is_constrained: false,
        goal: 1.0,
        rounds: 3,
    },
    Shape {
        figure: "schedule 1,000 tasks on 100,000 nodes (SwarmKit 65 s)",
        nodes: 100_000,
        tasks: 1_000,
        is_constrained: false,
        goal: 0.3,
        rounds: 3,
    },
    Shape {
        figure: "schedule 100,000 tasks on 100,000 nodes, with constraints",
        nodes: 100_000,
        tasks: 100_000,
        is_constrained: true,
        goal: 3.0,
        rounds: 3,
    },
];

/// The name of these measurements.
pub(crate) const NAME: &str = "scheduler";

/// All shapes.
pub(crate) fn scheduler() -> Result<Vec<Samples>> {
    let measure = |shape: &Shape| {
        let values: Result<Vec<f64>> = (0..shape.rounds).map(|_| shape.round()).collect();
        let goal = Goal::Seconds(shape.goal);
        values.map(|values| Samples { figure: shape.figure, goal, values, note: None })
    };
    SHAPES.iter().map(measure).collect()
}

impl Shape {
    fn round(&self) -> Result<f64> {
        crate::table::progress(self.figure);
        check()?;
        let store = ImmediateProposer::store();
        let mut loops = swarm_scheduler::control_loops();
        let mut driver = LoopDriver::default();
        store.attach_feed();
        settle(&store, &mut driver, &mut loops)?;
        store.propose(|transaction| {
            (0..self.nodes).try_for_each(|number| transaction.create(node(number)))?;
            let services = self.tasks.div_ceil(TASKS_PER_SERVICE);
            (0..services).try_for_each(|number| transaction.create(service(number)))?;
            (0..self.tasks).try_for_each(|number| transaction.create(self.task(number)))
        })?;
        let begun = Instant::now();
        settle(&store, &mut driver, &mut loops)?;
        let took = begun.elapsed();
        let placed = store.view().iter::<Task>().filter(|task| !task.node_id.is_empty()).count();
        ensure!(placed == self.tasks, "{placed} of {} tasks have a node", self.tasks);
        Ok(took.as_secs_f64())
    }

    fn task(&self, number: usize) -> Task {
        let driver = Driver { name: "network".into(), ..Driver::default() };
        let network = Network { driver_state: Some(driver), ..Network::default() };
        let attachment =
            NetworkAttachment { network: Some(network), ..NetworkAttachment::default() };
        Task {
            id: format!("task{number}"),
            service_id: format!("service{}", number / TASKS_PER_SERVICE),
            spec_version: Some(Version { index: 1 }),
            slot: (number % TASKS_PER_SERVICE) as u64 + 1,
            desired_state: TaskState::Running.into(),
            status: Some(TaskStatus { state: TaskState::Pending.into(), ..TaskStatus::default() }),
            networks: if self.is_constrained { vec![attachment] } else { Vec::new() },
            ..Task::default()
        }
    }
}

/// Lets the loops work until they rest.
fn settle(
    store: &Store,
    driver: &mut LoopDriver,
    loops: &mut [Box<dyn ControlLoop>],
) -> Result<()> {
    loop {
        if let Some(start) = driver.start(store) {
            driver.catch_up(loops, start);
        }
        let (rest, _) =
            store.propose(|transaction| Ok::<_, Error>(driver.cycle(loops, transaction)))?;
        if rest != Rest::AT_ONCE {
            return Ok(());
        }
    }
}

fn node(number: usize) -> Node {
    // Every third node has what some tasks need.
    let plugin = PluginDescription { r#type: "Network".into(), name: "network".into() };
    let plugins = if number.is_multiple_of(3) { vec![plugin] } else { Vec::new() };
    let engine = EngineDescription { plugins, ..EngineDescription::default() };
    Node {
        id: format!("node{number:06}"),
        status: Some(NodeStatus {
            state: node_status::State::Ready.into(),
            ..NodeStatus::default()
        }),
        description: Some(NodeDescription { engine: Some(engine), ..NodeDescription::default() }),
        ..Node::default()
    }
}

fn service(number: usize) -> Service {
    Service {
        id: format!("service{number}"),
        spec_version: Some(Version { index: 1 }),
        ..Service::default()
    }
}

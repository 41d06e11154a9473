//! Figures of a manager for Prometheus, with SwarmKit's names: what the store holds, who leads, and how long tasks take
//! to run.
//!
//! Counts are taken when they are asked for, so nobody pays for what isn't read. Mirrors SwarmKit's `manager/metrics`.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, Histogram, Opts};
use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::node_status::State;
use swarm_proto::v1::{Config, Network, Node, Secret, Service, Task, TaskState};
use swarm_store::{Change, Delta, Kind, Store, Tables};

/// From a task's creation to its running, as the leader learns it (SwarmKit's `dispatcher.scheduling_delay`).
static SCHEDULING_DELAY: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "Scheduling delay is the time a task takes to go from NEW to RUNNING state.";
    swarm_store::metrics::histogram("swarm_dispatcher_scheduling_delay_seconds", help)
});

/// What a scrape is told of the manager.
#[derive(Debug, Clone)]
pub struct View {
    /// Its committed state.
    pub tables: Tables,
    /// Whether it leads.
    pub is_leading: bool,
}

/// The gauges.
#[derive(Debug, Clone)]
pub struct ManagerMetrics {
    leader: Gauge,
    /// Docker's name, and the one with the unit that its siblings have.
    nodes: [GaugeVec; 2],
    tasks: GaugeVec,
    services: Gauge,
    networks: Gauge,
    secrets: Gauge,
    configs: Gauge,
}

impl ManagerMetrics {
    /// Gauges at zero.
    ///
    /// # Errors
    /// Where a name is none that Prometheus knows.
    pub fn new() -> Result<Self, prometheus::Error> {
        let by_state = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &["state"]);
        let count = |what: &str| {
            let help = format!("The number of {what} in the cluster object store");
            Gauge::with_opts(Opts::new(format!("swarm_manager_{what}_total"), help))
        };
        let leader = "Indicates if this manager node is a leader";
        Ok(Self {
            leader: Gauge::with_opts(Opts::new("swarm_manager_leader", leader))?,
            nodes: [
                by_state("swarm_manager_nodes", "The number of nodes")?,
                by_state("swarm_manager_nodes_total", "The number of nodes")?,
            ],
            tasks: by_state(
                "swarm_manager_tasks_total",
                "The number of tasks in the cluster object store",
            )?,
            services: count("services")?,
            networks: count("networks")?,
            secrets: count("secrets")?,
            configs: count("configs")?,
        })
    }

    /// Everything that is to be registered, the latencies among it.
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let mut all: Vec<Box<dyn Collector>> = vec![
            Box::new(self.leader.clone()),
            Box::new(self.tasks.clone()),
            Box::new(self.services.clone()),
            Box::new(self.networks.clone()),
            Box::new(self.secrets.clone()),
            Box::new(self.configs.clone()),
            Box::new(SCHEDULING_DELAY.clone()),
        ];
        all.extend(self.nodes.clone().map(|nodes| Box::new(nodes) as Box<dyn Collector>));
        all.extend(swarm_store::metrics::collectors());
        all.extend(swarm_raft::metrics::collectors());
        all
    }

    /// Sets the gauges to what the manager has; to zero where this node is none.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn set(&self, view: Option<&View>) {
        let tables = view.map(|view| view.tables.clone()).unwrap_or_default();
        self.leader.set(f64::from(u8::from(view.is_some_and(|view| view.is_leading))));
        for nodes in &self.nodes {
            for state in [State::Unknown, State::Down, State::Ready, State::Disconnected] {
                nodes.with_label_values(&[state.as_str_name().to_lowercase()]).set(0.0);
            }
            for node in tables.iter::<Node>() {
                let state = node.status.as_ref().map_or(State::Unknown, |status| status.state());
                nodes.with_label_values(&[state.as_str_name().to_lowercase()]).inc();
            }
        }
        for number in TASK_STATES {
            self.tasks.with_label_values(&[task_state(number)]).set(0.0);
        }
        for task in tables.iter::<Task>() {
            let state = task.status.as_ref().map_or(TaskState::New, |status| status.state());
            self.tasks.with_label_values(&[task_state(state)]).inc();
        }
        self.services.set(tables.len::<Service>() as f64);
        self.networks.set(tables.len::<Network>() as f64);
        self.secrets.set(tables.len::<Secret>() as f64);
        self.configs.set(tables.len::<Config>() as f64);
    }
}

const TASK_STATES: [TaskState; 14] = [
    TaskState::New,
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Complete,
    TaskState::Shutdown,
    TaskState::Failed,
    TaskState::Rejected,
    TaskState::Remove,
    TaskState::Orphaned,
];

fn task_state(state: TaskState) -> String {
    state.as_str_name().to_lowercase()
}

/// Notes how long tasks took; for ever.
pub(crate) async fn note_delays(store: Store) {
    let mut watch = store.watch(&[Kind::Task]);
    loop {
        let commit = watch.next().await;
        for change in commit.changes.iter() {
            if let Change::Task(delta) = change
                && let Some(delay) = delay(delta)
            {
                SCHEDULING_DELAY.observe(delay);
            }
        }
    }
}

/// The seconds from a task's creation to its running, where this is the change that says so.
fn delay(delta: &Delta<Task>) -> Option<f64> {
    let state = |task: &Task| task.status.as_ref().map(|status| status.state);
    let running = Some(TaskState::Running as i32);
    let (old, new) = (delta.old.as_ref()?, delta.new.as_ref()?);
    if state(new) != running || state(old) >= running {
        return None;
    }
    let created = to_system_time(new.meta.as_ref()?.created_at.as_ref()?);
    let ran = to_system_time(new.status.as_ref()?.timestamp.as_ref()?);
    // Clocks of nodes differ.
    Some(ran.duration_since(created).unwrap_or_default().as_secs_f64())
}

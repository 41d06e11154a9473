//! Clients: each changes objects of its own, one request at a time, and remembers what it was told.

mod labels;

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_orchestrator::cron;
use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::endpoint_spec::ResolutionMode;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::update_config::FailureAction;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{
    Annotations, ContainerSpec, EndpointSpec, GlobalJob, GlobalService, JobStatus, Node, NodeSpec,
    Placement, PortConfig, ReplicatedJob, ReplicatedService, RestartPolicy, Service, ServiceSpec,
    TaskSpec, UpdateConfig, UpdateStatus, Version, task_spec,
};
use swarm_store::{Error, Transaction};

use crate::checks::moves::REBALANCE_LABEL;
use crate::checks::{Key, REVISION_LABEL};
use crate::random::Random;

/// Services of a client.
const SERVICES: usize = 8;
/// The one that is on no node twice, and the one that is on one node.
const APART: usize = 0;
const TOGETHER: usize = 1;
/// The one that has a port of the node, the one that runs on every node, the jobs, and the one that is often updated to
/// something that fails.
const WITH_PORT: usize = 2;
/// The ones that ask to be rebalanced, and drained without a gap.
const MOVED: [usize; 3] = [7, WITH_PORT, FLAKY];
const GLOBAL: usize = 3;
const JOB: usize = 4;
const GLOBAL_JOB: usize = 5;
const FLAKY: usize = 6;
/// The most replicas that are asked for.
const REPLICAS_MAX: usize = 5;

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    id: usize,
    /// Nodes whose availability this client changes.
    nodes: Vec<String>,
    /// How many nodes there are.
    workers: usize,
    /// The specs that were last asked for, by name.
    specs: BTreeMap<String, ServiceSpec>,
    pub(crate) waiting: Option<Waiting>,
    revision: u64,
    /// Whether it asks for what Docker does not know.
    has_labels: bool,
}

/// A request that is out.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) number: u64,
    pub(crate) wish: Wish,
    pub(crate) until: Duration,
}

/// What a client wants of an object, at a revision.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) key: Key,
    pub(crate) revision: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Put(Box<ServiceSpec>),
    Remove,
    RollBack,
    Availability(Availability),
}

impl Client {
    pub(crate) fn new(id: usize, nodes: Vec<String>, workers: usize, has_labels: bool) -> Self {
        Self { id, nodes, workers, specs: BTreeMap::new(), waiting: None, revision: 0, has_labels }
    }

    /// The next wish.
    pub(crate) fn wish(&mut self, random: &mut Random) -> Wish {
        self.revision += 1;
        let revision = self.revision;
        if !self.nodes.is_empty() && random.chance(250) {
            let node = self.nodes[random.below(self.nodes.len())].clone();
            let choices = [
                Availability::Active,
                Availability::Active,
                Availability::Drain,
                Availability::Pause,
            ];
            let availability = choices[random.below(choices.len())];
            return Wish { key: Key::Node(node), revision, what: What::Availability(availability) };
        }
        let number = random.below(SERVICES);
        let name = format!("s{}-{number}", self.id);
        let what = match self.specs.get(&name) {
            Some(_) if random.chance(120) => {
                self.specs.remove(&name);
                What::Remove
            }
            Some(_) if number == FLAKY && random.chance(200) => What::RollBack,
            before => {
                let mut spec = self.spec(before.cloned(), &name, number, revision, random);
                if self.has_labels {
                    labels::add(&mut spec, self.id, number, random);
                }
                self.specs.insert(name.clone(), spec.clone());
                What::Put(Box::new(spec))
            }
        };
        Wish { key: Key::Service(name), revision, what }
    }

    /// Wishes that make every node active again, and mend what may be broken.
    pub(crate) fn last_wishes(&mut self) -> Vec<Wish> {
        let nodes = self.nodes.clone();
        let active = nodes
            .into_iter()
            .map(|node| (Key::Node(node), What::Availability(Availability::Active)));
        let name = format!("s{}-{FLAKY}", self.id);
        let mut random = Random::new(0);
        let last = self.specs.get(&name).cloned();
        let mut spec = last.unwrap_or_else(|| fresh(None, FLAKY, &mut random));
        spec.task = Some(task(0, false, &mut random).into());
        let mended = [(Key::Service(name), What::Put(Box::new(spec)))];
        let wishes: Vec<_> = active.chain(mended).collect();
        let wish = |(key, mut what)| {
            self.revision += 1;
            let revision = self.revision;
            if let (Key::Service(name), What::Put(spec)) = (&key, &mut what) {
                spec.annotations = Some(annotations(name, FLAKY, revision));
            }
            Wish { key, revision, what }
        };
        wishes.into_iter().map(wish).collect()
    }

    /// A new spec: one that scales, or one with another image.
    fn spec(
        &self,
        before: Option<ServiceSpec>,
        name: &str,
        number: usize,
        revision: u64,
        random: &mut Random,
    ) -> ServiceSpec {
        // More replicas of a port of the node than nodes would wait for ever, and updates of theirs with them: an
        // update goes on when what it started runs, in SwarmKit as here.
        let has_port = number == WITH_PORT;
        let is_once_a_node = has_port || number == APART;
        let replicas_max = if is_once_a_node { self.workers } else { REPLICAS_MAX };
        let replicas = random.below(replicas_max + 1) as u64;
        // The last service of each client has a port of the node, so that two replicas never share one.
        let port = has_port.then(|| 8000 + self.id as u32);
        let mut spec = before.unwrap_or_else(|| fresh(port, number, random));
        spec.annotations = Some(annotations(name, number, revision));
        if number == FLAKY {
            let labels = &mut spec.annotations.get_or_insert_default().labels;
            labels.insert("swarm.restart.backoff".to_owned(), "20s".to_owned());
        }
        match (random.below(2), number) {
            (0, JOB) => spec.mode = Some(job(random)),
            (0, number) if ![GLOBAL, GLOBAL_JOB].contains(&number) => {
                spec.mode = Some(Mode::Replicated(ReplicatedService { replicas }));
            }
            _ => {
                let mut task = task(revision, is_job(number), random);
                if number == FLAKY && random.chance(500) {
                    let broken = if random.chance(500) { "absent" } else { "broken" };
                    set_image(&mut task, format!("{broken}:{revision}"));
                }
                spec.task = Some(task.into());
            }
        }
        if let Some(constraint) = company(name, number)
            && let Some(task) = spec.task.take()
        {
            let placement = Placement { constraints: vec![constraint], ..Placement::default() };
            let task = TaskSpec { placement: Some(placement), ..TaskSpec::clone(&task) };
            spec.task = Some(task.into());
        }
        spec
    }
}

/// What a service wants to be beside, or not.
fn company(name: &str, number: usize) -> Option<String> {
    match number {
        APART => Some(format!("service.name!={name}")),
        TOGETHER => Some(format!("service.name=={name}")),
        _ => None,
    }
}

fn annotations(name: &str, number: usize, revision: u64) -> Annotations {
    let revision = revision.to_string();
    let moved = [
        (REBALANCE_LABEL, "true"),
        ("swarm.rebalance.cooldown", "3s"),
        ("swarm.drain", "start-first"),
    ];
    let moved = moved.into_iter().filter(|_| MOVED.contains(&number));
    let labels = moved.chain([(REVISION_LABEL, revision.as_str())]);
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Annotations { name: name.to_owned(), labels, ..Annotations::default() }
}

fn is_job(number: usize) -> bool {
    [JOB, GLOBAL_JOB].contains(&number)
}

fn set_image(task: &mut TaskSpec, image: String) {
    if let Some(task_spec::Runtime::Container(container)) = &mut task.runtime {
        container.image = image;
    }
}

fn job(random: &mut Random) -> Mode {
    let max_concurrent = 1 + random.below(3) as u64;
    let total_completions = 1 + random.below(REPLICAS_MAX) as u64;
    Mode::ReplicatedJob(ReplicatedJob { max_concurrent, total_completions })
}

fn fresh(port: Option<u32>, number: usize, random: &mut Random) -> ServiceSpec {
    let endpoint = port.map(|port| EndpointSpec {
        mode: ResolutionMode::Dnsrr.into(),
        ports: vec![PortConfig {
            target_port: 80,
            published_port: port,
            publish_mode: PublishMode::Host.into(),
            ..PortConfig::default()
        }],
    });
    let mode = match number {
        GLOBAL => Mode::Global(GlobalService {}),
        JOB => job(random),
        GLOBAL_JOB => Mode::GlobalJob(GlobalJob {}),
        _ => Mode::Replicated(ReplicatedService { replicas: 2 }),
    };
    let actions = [FailureAction::Rollback, FailureAction::Pause, FailureAction::Continue];
    let failure_action = match number {
        FLAKY => actions[random.below(actions.len())],
        _ => FailureAction::Continue,
    };
    let update = UpdateConfig {
        parallelism: random.below(3) as u64,
        failure_action: failure_action.into(),
        monitor: Some(swarm_proto::timestamp::from_duration(Duration::from_secs(1))),
        order: random.below(2) as i32,
        ..UpdateConfig::default()
    };
    ServiceSpec {
        task: Some(task(0, is_job(number), random).into()),
        mode: Some(mode),
        update: Some(update),
        rollback: Some(update),
        endpoint,
        ..ServiceSpec::default()
    }
}

fn task(revision: u64, is_job: bool, random: &mut Random) -> TaskSpec {
    let container =
        ContainerSpec { image: format!("image:{revision}"), ..ContainerSpec::default() };
    let delay = swarm_proto::timestamp::from_duration(random.millis(100, 5000));
    let condition = if is_job { RestartCondition::OnFailure } else { RestartCondition::Any };
    TaskSpec {
        runtime: Some(task_spec::Runtime::Container(container)),
        restart: Some(RestartPolicy {
            condition: condition.into(),
            delay: Some(delay),
            ..RestartPolicy::default()
        }),
        ..TaskSpec::default()
    }
}

impl Wish {
    pub(crate) fn is_removal(&self) -> bool {
        matches!(self.what, What::Remove)
    }

    pub(crate) fn describe(&self) -> String {
        let what = match &self.what {
            What::Put(spec) => {
                let mode = match &spec.mode {
                    Some(Mode::Replicated(replicated)) => replicated.replicas.to_string(),
                    Some(Mode::ReplicatedJob(job)) => format!("job of {}", job.total_completions),
                    Some(Mode::GlobalJob(_)) => "global job".to_owned(),
                    _ => "global".to_owned(),
                };
                format!("put {mode}")
            }
            What::Remove => "remove".to_owned(),
            What::RollBack => "roll back".to_owned(),
            What::Availability(availability) => availability.as_str_name().to_owned(),
        };
        format!("{:?}@{}: {what}", self.key, self.revision)
    }

    /// The transaction, as the Control service makes it; `id` is a new service's.
    pub(crate) fn transact(
        self,
        transaction: &mut Transaction<'_>,
        id: String,
    ) -> Result<(), Error> {
        match (self.key, self.what) {
            (Key::Service(name), What::Put(spec)) => put(transaction, &name, id, *spec),
            (Key::Service(name), What::RollBack) => roll_back(transaction, &name),
            (Key::Service(name), What::Remove) => {
                match transaction.by_name::<Service>(&name).map(|service| service.id.clone()) {
                    Some(id) => transaction.delete::<Service>(&id),
                    None => Ok(()),
                }
            }
            (Key::Node(id), What::Availability(availability)) => {
                let Some(node) = transaction.get::<Node>(&id) else { return Ok(()) };
                let mut node = Node::clone(node);
                let spec = node.spec.get_or_insert_with(NodeSpec::default);
                spec.availability = availability.into();
                spec.annotations = Some(annotations("", GLOBAL, self.revision));
                transaction.update(node)
            }
            _ => Ok(()),
        }
    }
}

fn put(
    transaction: &mut Transaction<'_>,
    name: &str,
    id: String,
    spec: ServiceSpec,
) -> Result<(), Error> {
    let Some(service) = transaction.by_name::<Service>(name) else {
        let spec_version = Some(Version::default());
        let is_job = matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
        let job_iteration = Some(Version::default());
        let cron = cron::of_new_job(&spec);
        let job_status = is_job.then(|| JobStatus { job_iteration, cron, ..JobStatus::default() });
        return transaction.create(Service {
            id,
            spec: Some(spec),
            spec_version,
            job_status,
            ..Service::default()
        });
    };
    let mut service = Service::clone(service);
    let version = service.meta.as_ref().and_then(|meta| meta.version).unwrap_or_default();
    let runs_job = cron::runs_job(service.spec.as_ref(), &spec, false);
    service.previous_spec = service.spec.replace(spec);
    service.previous_spec_version = service.spec_version.replace(version);
    service.update_status = None;
    if let Some(status) = service.job_status.as_mut().filter(|_| runs_job) {
        cron::begin_run(status, transaction.now());
    }
    transaction.update(service)
}

/// As the Control service does; where there is nothing to go back to, nothing happens.
fn roll_back(transaction: &mut Transaction<'_>, name: &str) -> Result<(), Error> {
    let Some(service) = transaction.by_name::<Service>(name) else { return Ok(()) };
    let mut service = Service::clone(service);
    let Some(previous) = service.previous_spec.take() else { return Ok(()) };
    service.previous_spec = service.spec.replace(previous);
    std::mem::swap(&mut service.spec_version, &mut service.previous_spec_version);
    service.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted.into(),
        started_at: Some(from_system_time(transaction.now())),
        ..UpdateStatus::default()
    });
    transaction.update(service)
}

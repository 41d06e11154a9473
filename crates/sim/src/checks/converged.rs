//! After the faults: every service runs as it should, and every manager holds the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Node, Service, Task, TaskState, node_status};
use swarm_store::Tables;

use super::ports::published;
use super::{cron, moves};

/// A leader without faults starts a job so soon after its tick.
const TICK_MAX: Duration = Duration::from_secs(1);

/// What does not hold yet; none where all services run as they should. `containers` are the tasks that run on each
/// worker that lives, by its node's identifier. `now` is what the leader's clock shows.
pub(crate) fn unconverged(
    tables: &Tables,
    now: SystemTime,
    containers: &BTreeMap<String, BTreeSet<String>>,
) -> Option<String> {
    let live: BTreeSet<&str> =
        tables.iter::<Node>().filter(|node| is_ready(node)).map(|node| node.id.as_str()).collect();
    let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for service in tables.iter::<Service>() {
        if let Some(tick) = cron::overdue(service, now - TICK_MAX) {
            return Some(format!("the tick of {tick:?} is due: {}", told(tables, service)));
        }
        // Its runs come and go.
        if cron::is_scheduled(service) {
            continue;
        }
        let tasks: Vec<&Task> = tables
            .tasks_by_service(&service.id)
            .map(|task| &**task)
            .filter(|task| runs(task) && live.contains(task.node_id.as_str()))
            .collect();
        if let Some(lack) = incomplete(tables, service) {
            return Some(lack);
        }
        let wanted = replicas(service, active(tables));
        if tasks.len() != wanted {
            let has = tasks.len();
            return Some(format!("{has} of {wanted} replicas run: {}", told(tables, service)));
        }
        if let Some(old) = tasks.iter().find(|task| !is_current(service, task)) {
            return Some(format!(
                "task {} is not as its service is: {}",
                old.id,
                told(tables, service)
            ));
        }
        if let Some(unevenness) = moves::unevenness(tables, service).filter(|it| *it > 1) {
            let told = told(tables, service);
            return Some(format!("nodes differ by {unevenness} tasks of a service: {told}"));
        }
        for task in tasks {
            expected.entry(&task.node_id).or_default().insert(&task.id);
        }
    }
    for (node, running) in containers {
        let running = running.iter().map(String::as_str);
        let running: BTreeSet<&str> = running.filter(|id| !is_of_schedule(tables, id)).collect();
        let wanted = expected.remove(node.as_str()).unwrap_or_default();
        if running != wanted {
            let surplus: Vec<_> = running.difference(&wanted).collect();
            let missing: Vec<_> = wanted.difference(&running).collect();
            return Some(format!("{node} runs {surplus:?} too much, {missing:?} too little"));
        }
    }
    expected.keys().next().map(|node| format!("tasks are to run on {node}, which does not live"))
}

fn is_of_schedule(tables: &Tables, task: &str) -> bool {
    let task = tables.get::<Task>(task);
    let service = task.and_then(|task| tables.get::<Service>(&task.service_id));
    service.is_some_and(|service| cron::is_scheduled(service))
}

/// What a job still lacks of its completions.
fn incomplete(tables: &Tables, service: &Service) -> Option<String> {
    let wanted = match service.spec.as_ref()?.mode.as_ref()? {
        Mode::ReplicatedJob(job) => job.total_completions,
        Mode::GlobalJob(_) => active(tables) as u64,
        _ => return None,
    };
    let newest = service.job_status.as_ref().and_then(|status| status.job_iteration);
    let complete = |task: &Task| {
        let state = task.status.as_ref().map(|status| status.state);
        task.job_iteration == newest && state == Some(TaskState::Complete as i32)
    };
    // A slot whose task was given up and replaced may complete twice.
    let tasks = tables.tasks_by_service(&service.id).filter(|task| complete(task));
    let is_global = matches!(service.spec.as_ref()?.mode.as_ref()?, Mode::GlobalJob(_));
    let slot = |task: &std::sync::Arc<Task>| match is_global {
        true => task.node_id.clone(),
        false => task.slot.to_string(),
    };
    let has = tasks.map(slot).collect::<BTreeSet<String>>().len() as u64;
    (has != wanted).then(|| format!("{has} of {wanted} completions: {}", told(tables, service)))
}

/// A service and its tasks, for whoever looks for the reason.
fn told(tables: &Tables, service: &Service) -> String {
    let name = service.spec.as_ref().and_then(|spec| spec.annotations.as_ref()).map(|of| &of.name);
    let tasks = tables.tasks_by_service(&service.id).map(|task| {
        let state = task.status.as_ref().map_or(TaskState::New, |status| status.state());
        format!(
            "\n  task {} in slot {} on {:?}: {} of {}, current: {}",
            task.id,
            task.slot,
            task.node_id,
            state.as_str_name(),
            task.desired_state().as_str_name(),
            is_current(service, task),
        )
    });
    let update = service.update_status.as_ref().map(|status| status.state().as_str_name());
    format!("{name:?}, update {update:?}, with{}", tasks.collect::<String>())
}

fn is_ready(node: &Node) -> bool {
    node.status.as_ref().is_some_and(|status| status.state == node_status::State::Ready as i32)
}

fn active(tables: &Tables) -> usize {
    let is_active = |node: &&std::sync::Arc<Node>| {
        is_ready(node)
            && node.spec.as_ref().is_none_or(|spec| spec.availability() == Availability::Active)
    };
    tables.iter::<Node>().filter(is_active).count()
}

fn runs(task: &Task) -> bool {
    let running = TaskState::Running as i32;
    task.desired_state == running
        && task.status.as_ref().is_some_and(|status| status.state == running)
}

/// A service with a port of the node has a node's room for each replica at most.
fn replicas(service: &Service, nodes: usize) -> usize {
    let Some(spec) = &service.spec else { return 0 };
    let replicated = match &spec.mode {
        Some(Mode::Global(_)) => return nodes,
        Some(Mode::Replicated(replicated)) => replicated,
        _ => return 0,
    };
    let wanted = usize::try_from(replicated.replicas).unwrap_or(usize::MAX);
    let has_port = spec.endpoint.as_ref().is_some_and(|endpoint| !endpoint.ports.is_empty());
    match nodes {
        0 => 0,
        nodes if has_port => wanted.min(nodes),
        _ => wanted,
    }
}

fn is_current(service: &Service, task: &Task) -> bool {
    let spec = service.spec.as_ref();
    let wants_port =
        spec.and_then(|spec| spec.endpoint.as_ref()).is_some_and(|e| !e.ports.is_empty());
    task.spec == spec.and_then(|spec| spec.task.clone())
        && published(task).next().is_some() == wants_port
}

/// Where two managers' states differ.
pub(crate) fn difference(one: &Tables, other: &Tables) -> Option<String> {
    let (one, other) = (one.to_snapshot(), other.to_snapshot());
    if one == other {
        return None;
    }
    for (a, b) in one.tasks.iter().zip(&other.tasks) {
        if a != b {
            return Some(format!("task {} is not the same", a.id));
        }
    }
    let counts =
        |s: &swarm_proto::v1::StoreSnapshot| (s.tasks.len(), s.services.len(), s.nodes.len());
    Some(format!("tasks, services and nodes: {:?} and {:?}", counts(&one), counts(&other)))
}

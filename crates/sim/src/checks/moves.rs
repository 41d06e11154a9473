//! Services that are moved stay whole, and no faster than they ask for.

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Node, Service, Task, TaskState, UpdateStatus, node_status};
use swarm_store::{Change, Commit, Delta, Tables};

/// The label by which the clients ask for rebalancing: one move at a time.
pub(crate) const REBALANCE_LABEL: &str = "swarm.rebalance";

pub(crate) fn check(commit: &Commit) -> Result<(), String> {
    commit.changes.iter().try_for_each(|change| match change {
        Change::Task(Delta { old: None, new: Some(new) }) if new.moved.is_some() => {
            within_budget(&commit.tables, new)
        }
        Change::Task(Delta { old: Some(old), new: Some(new) })
            if is_runnable(old) && !is_runnable(new) =>
        {
            is_replaced(&commit.tables, new)
        }
        _ => Ok(()),
    })
}

fn within_budget(tables: &Tables, begun: &Task) -> Result<(), String> {
    let Some(service) = tables.get::<Service>(&begun.service_id) else { return Ok(()) };
    let update = service.spec.as_ref().and_then(|spec| spec.update.as_ref());
    let drained = update.map_or(1, |update| update.parallelism);
    let under_way = tables.tasks_by_service(&service.id).filter(|task| {
        let old = task.moved.as_ref().and_then(|moved| tables.get::<Task>(&moved.task_id));
        is_runnable(task) && old.is_some_and(|old| is_runnable(old))
    });
    let under_way = under_way.count() as u64;
    if drained == 0 || under_way <= drained.max(1) {
        return Ok(());
    }
    let id = &service.id;
    Err(format!("moves keep to their budget: {under_way} of service {id}, of {drained} at a time"))
}

/// A task that runs is not told to stop before the one that is to take its place runs.
fn is_replaced(tables: &Tables, old: &Task) -> Result<(), String> {
    let node = tables.get::<Node>(&old.node_id);
    let is_lost = node.is_none_or(|node| {
        node.status.as_ref().is_some_and(|it| it.state == node_status::State::Down as i32)
    });
    let service = tables.get::<Service>(&old.service_id);
    let state = service.and_then(|it| it.update_status.as_ref()).map(UpdateStatus::state);
    let is_left_alone =
        matches!(state, None | Some(UpdateState::Completed | UpdateState::RollbackCompleted));
    if is_lost || !is_left_alone || !is_up(old) {
        return Ok(());
    }
    let early = tables.tasks_by_slot(&old.service_id, old.slot).find(|new| {
        let takes_place = new.moved.as_ref().is_some_and(|moved| moved.task_id == old.id);
        takes_place && is_runnable(new) && !is_up(new)
    });
    match early {
        Some(new) => Err(format!(
            "a task runs until the one that takes its place does: {} was told to stop before {}",
            old.id, new.id
        )),
        None => Ok(()),
    }
}

/// How uneven a service is over the nodes that take tasks; none where it does not ask to be even, or can't be.
pub(crate) fn unevenness(tables: &Tables, service: &Service) -> Option<usize> {
    let labels = &service.spec.as_ref()?.annotations.as_ref()?.labels;
    labels.get(REBALANCE_LABEL)?;
    let is_open = |node: &&std::sync::Arc<Node>| {
        let spec = node.spec.as_ref();
        let is_ready =
            node.status.as_ref().is_some_and(|it| it.state == node_status::State::Ready as i32);
        is_ready && spec.is_none_or(|spec| spec.availability() == Availability::Active)
    };
    let count = |node: &std::sync::Arc<Node>| {
        let tasks = tables.tasks_by_node(&node.id);
        tasks.filter(|task| task.service_id == service.id && is_runnable(task)).count()
    };
    let counts: Vec<usize> = tables.iter::<Node>().filter(is_open).map(count).collect();
    Some(counts.iter().max()? - counts.iter().min()?)
}

fn is_runnable(task: &Task) -> bool {
    task.desired_state <= TaskState::Running as i32
}

fn is_up(task: &Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.state == TaskState::Running as i32)
}

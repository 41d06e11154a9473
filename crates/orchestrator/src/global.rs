//! Global services: one task on every node that is up, not drained, and meets the constraints.
//!
//! Mirrors SwarmKit's `manager/orchestrator/global`.

use std::collections::BTreeMap;
use std::sync::Arc;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::{Node, Service, Task, TaskState};

use crate::dirty::{is_dirty, placement, suits};
use crate::hold;
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{availability, is_invalid};
use crate::update::Updates;

/// Brings a service to every node that should have it, and away from the others.
pub(crate) fn reconcile(
    plan: &mut Plan,
    restarts: &mut Restarts,
    updates: &mut Updates,
    service: &Service,
) {
    let mut by_node: BTreeMap<String, Vec<Arc<Task>>> = BTreeMap::new();
    for task in plan.tables.tasks_by_service(&service.id) {
        by_node.entry(task.node_id.clone()).or_default().push(task.clone());
    }
    by_node = by_node
        .into_iter()
        .map(|(node, tasks)| (node, restarts.updatable(&tasks, service)))
        .collect();

    let mut current = Vec::new();
    let nodes: Vec<_> =
        plan.tables.iter::<Node>().filter(|node| !is_invalid(node)).cloned().collect();
    for node in nodes {
        let tasks = by_node.remove(&node.id).unwrap_or_default();
        if !suits(placement(service), &node) {
            shut_down(plan, &tasks);
        } else if availability(&node) == Availability::Active {
            if tasks.is_empty() {
                add(plan, restarts, service, &node);
            } else {
                current.push(tasks);
            }
        }
    }
    // What remains is on nodes that are down, drained or gone.
    for mut tasks in by_node.into_values() {
        tasks.retain(|task| hold::until(plan.now, &plan.tables, service, task).is_none());
        shut_down(plan, &tasks);
    }
    updates.start(plan, restarts, service, &current);
}

/// Brings a service to one node that changed. This is no rolling update: what is outdated on a node that comes back
/// from a pause is replaced at once, unless an update is under way, which will come to it.
pub(crate) fn reconcile_node(
    plan: &mut Plan,
    restarts: &mut Restarts,
    updates: &Updates,
    service: &Service,
    node: &Node,
) {
    if is_invalid(node)
        || availability(node) == Availability::Pause
        || !suits(placement(service), node)
    {
        return;
    }
    let slot = SlotKey { service_id: service.id.clone(), number: 0, node_id: node.id.clone() };
    let tasks = restarts.updatable(&slot.tasks(&plan.tables), service);
    if tasks.is_empty() {
        add(plan, restarts, service, node);
    } else if !updates.is_running(&service.id) {
        let (outdated, current): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|task| is_dirty(service, task, Some(node)));
        if current.is_empty() {
            add(plan, restarts, service, node);
        }
        shut_down(plan, &outdated);
        shut_down(plan, current.get(1..).unwrap_or_default());
    }
}

/// Acts on a task that ended or whose node changed.
pub(crate) fn restart(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    task: &Arc<Task>,
) {
    let node = plan.tables.get::<Node>(&task.node_id).cloned();
    let stays = node.is_some_and(|node| {
        !is_invalid(&node)
            && availability(&node) != Availability::Pause
            && suits(placement(service), &node)
    });
    if stays {
        restarts.restart(plan, service, task);
    } else {
        plan.desire(&task.id, TaskState::Shutdown);
    }
}

fn add(plan: &mut Plan, restarts: &mut Restarts, service: &Service, node: &Node) {
    let slot = SlotKey { service_id: service.id.clone(), number: 0, node_id: node.id.clone() };
    let task = restarts.new_task(plan, service, &slot);
    plan.create_task(task);
}

fn shut_down(plan: &mut Plan, tasks: &[Arc<Task>]) {
    for task in tasks {
        plan.desire(&task.id, TaskState::Shutdown);
    }
}

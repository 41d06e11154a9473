//! Spreading a service evenly again: the next tasks that would be better placed on nodes which have been there for long
//! enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::task_move::Reason;
use swarm_proto::v1::{Node, Service, Task};
use swarm_scheduler::balance::{Shift, Stand, next_shift};
use swarm_store::{PORTION, Tables};

use super::pair;
use super::survey::Survey;
use crate::dirty::is_dirty;
use crate::options::Rebalance;
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::task::{availability, is_dead, is_down, is_runnable};

/// Begins what the budget allows; when it, or a node that is new, allows more.
pub(super) fn step(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    options: Rebalance,
    survey: Survey,
    changed_at: &BTreeMap<String, SystemTime>,
) -> Option<SystemTime> {
    let now = plan.now;
    let cooled_at = |node: &Node| changed_at.get(&node.id).map_or(now, |at| *at + options.cooldown);
    let mut movable = survey.settled.clone();
    let free = options.parallelism.saturating_sub(survey.busy(now, options.delay));
    for _ in 0..free {
        if plan.len() >= PORTION {
            return Some(now);
        }
        let Some((task, to)) = next(&plan.tables, service, &movable, |node| cooled_at(node) <= now)
        else {
            break;
        };
        movable.retain(|other| other.id != task.id);
        pair::begin(plan, restarts, service, &task, Reason::Rebalance, Some(to));
    }
    let cools = plan.tables.iter::<Node>().filter(|node| is_active(node));
    let cools = cools.map(|node| cooled_at(node)).filter(|at| *at > now);
    cools.chain(survey.rests_until(now, options.delay)).min()
}

/// The task that is moved next, and where to.
fn next(
    tables: &Tables,
    service: &Service,
    movable: &[Arc<Task>],
    is_cool: impl Fn(&Node) -> bool,
) -> Option<(Arc<Task>, String)> {
    let may_move = |task: &&Arc<Task>| {
        let node = tables.get::<Node>(&task.node_id).map(|node| &**node);
        node.is_some_and(is_active) && !is_dirty(service, task, node)
    };
    let movable: Vec<_> = movable.iter().filter(may_move).collect();
    let sample = Task {
        spec: service.spec.as_ref()?.task.clone(),
        spec_version: service.spec_version,
        ..Task::clone(movable.first()?)
    };
    let counts = staying(tables, service);
    let sources: BTreeSet<&str> = movable.iter().map(|task| task.node_id.as_str()).collect();
    let Shift { from, to } = next_shift(tables, &sample, |node| Stand {
        tasks: counts.get(node.id.as_str()).copied().unwrap_or_default(),
        may_leave: sources.contains(node.id.as_str()),
        may_come: is_active(node) && is_cool(node),
    })?;
    // Of those on the node the one that was made last: what has run for longest goes on.
    let leaving = movable.into_iter().filter(|task| task.node_id == from);
    let task = leaving.max_by_key(|task| (created_at(task), task.slot))?;
    Some((task.clone(), to))
}

/// How many tasks each node has, or is about to have, that are not about to leave it.
fn staying<'a>(tables: &'a Tables, service: &Service) -> BTreeMap<&'a str, u64> {
    let tasks = || {
        tables
            .tasks_by_service(&service.id)
            .filter(|task| is_runnable(task) && !is_dead(task) && !task.node_id.is_empty())
    };
    let leaving: BTreeSet<&str> =
        tasks().filter_map(|task| Some(task.moved.as_ref()?.task_id.as_str())).collect();
    let mut counts = BTreeMap::new();
    for task in tasks().filter(|task| !leaving.contains(task.id.as_str())) {
        *counts.entry(task.node_id.as_str()).or_default() += 1;
    }
    counts
}

fn is_active(node: &Node) -> bool {
    !is_down(node) && availability(node) == Availability::Active
}

fn created_at(task: &Task) -> (i64, i32) {
    let created = task.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
    created.map_or((0, 0), |at| (at.seconds, at.nanos))
}

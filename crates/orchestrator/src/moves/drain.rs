//! Leaving a drained node without a gap: each task goes once its replacement runs elsewhere, at the pace of the
//! service's updates.

use std::time::SystemTime;

use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::task_move::Reason;
use swarm_proto::v1::{Node, Service, Task};
use swarm_store::{PORTION, Tables};

use super::pair;
use super::survey::{Survey, is_up};
use crate::defaults::update_config;
use crate::options::Drain;
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::task::{availability, is_down, mode};

/// Whether a drained node keeps a task until its replacement runs.
pub(crate) fn keeps(tables: &Tables, node: &Node, task: &Task) -> bool {
    is_up(task)
        && is_draining(node)
        && tables.get::<Service>(&task.service_id).is_some_and(|service| asks(service))
}

/// Whether a task is still to leave its node.
pub(super) fn wants(tables: &Tables, service: &Service, task: &Task) -> bool {
    asks(service) && tables.get::<Node>(&task.node_id).is_some_and(|node| is_draining(node))
}

/// Begins what the budget allows; when it allows more.
pub(super) fn step(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    survey: &Survey,
) -> Option<SystemTime> {
    let leaving = survey.settled.iter().filter(|task| wants(&plan.tables, service, task));
    let leaving: Vec<_> = leaving.cloned().collect();
    if leaving.is_empty() {
        return None;
    }
    let config = update_config(service, false);
    let delay = config.delay.as_ref().map(to_duration).unwrap_or_default();
    // A parallelism of nothing means no limit.
    let parallelism = match usize::try_from(config.parallelism) {
        Ok(limit) if limit > 0 => limit,
        _ => usize::MAX,
    };
    let free = parallelism.saturating_sub(survey.busy(plan.now, delay));
    let (total, mut begun) = (leaving.len(), 0);
    for task in leaving.into_iter().take(free) {
        if plan.len() >= PORTION {
            return Some(plan.now);
        }
        pair::begin(plan, restarts, service, &task, Reason::Drain, None);
        begun += 1;
    }
    survey.rests_until(plan.now, delay).filter(|_| begun < total)
}

fn asks(service: &Service) -> bool {
    matches!(mode(service), Some(Mode::Replicated(_))) && Drain::of(service) == Drain::StartFirst
}

fn is_draining(node: &Node) -> bool {
    availability(node) == Availability::Drain && !is_down(node)
}

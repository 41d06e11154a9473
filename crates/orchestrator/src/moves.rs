//! Moving tasks that run well, because a service asks for it: to spread it evenly again (`swarm.rebalance`), or to leave
//! a drained node without a gap (`swarm.drain`).
//!
//! ```text
//! services, tasks, nodes ──► due ─► survey ─► pairs under way: finished, or given up
//!                                        └──► budget left: drain, else rebalance ─► the next pairs begin
//! ```
//!
//! How one task is moved is [`pair`]'s, for both alike; how many may be at a time, and when, comes from [`survey`]. While
//! a service is updated it is not moved: what an update replaces finds the better place by itself. SwarmKit has nothing
//! of the kind.

mod drain;
mod pair;
mod rebalance;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::task_move::Reason;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Node, Service, Task, UpdateStatus};
use swarm_store::{Delta, PORTION, Tables};

use crate::dirty::is_dirty;
use crate::options::{Drain, Rebalance};
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::task::{availability, is_down, is_runnable, mode};
use crate::update::Updates;

pub(crate) use drain::keeps;
pub(crate) use pair::Pair;

use survey::{Survey, is_up};

/// How long after a task came or went its service is looked at: more may follow, and each look is one at all its tasks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Which services to look at, and since when each node is there. Derived: what is under way is in the tables.
#[derive(Default)]
pub(crate) struct Moves {
    /// The services that ask to be moved.
    asking: BTreeSet<String>,
    /// When to look at a service.
    due: BTreeMap<String, SystemTime>,
    /// When each node last came, went, or was activated, at the latest.
    changed_at: BTreeMap<String, SystemTime>,
    is_behind: bool,
}

impl Moves {
    /// Forgets everything and starts from the tables.
    pub(crate) fn resync(&mut self, now: SystemTime, tables: &Tables) {
        *self = Self::default();
        let asking = tables.iter::<Service>().filter(|service| asks(service));
        self.asking = asking.map(|service| service.id.clone()).collect();
        self.due = self.asking.iter().map(|id| (id.clone(), now)).collect();
        for task in tables.iter::<Task>().filter(|task| task.moved.is_some() && is_runnable(task)) {
            self.due.insert(task.service_id.clone(), now);
        }
        // A node is written for other reasons too: it may be there for longer, not for less.
        let written_at = |node: &Arc<Node>| {
            let at = node.meta.as_ref().and_then(|meta| meta.updated_at.as_ref());
            at.map_or(now, to_system_time).min(now)
        };
        self.changed_at =
            tables.iter::<Node>().map(|node| (node.id.clone(), written_at(node))).collect();
    }

    pub(crate) fn observe_service(&mut self, now: SystemTime, delta: &Delta<Service>) {
        let Some(service) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        let is_asking = delta.new.as_ref().is_some_and(|new| asks(new));
        let was_asking = match is_asking {
            true => !self.asking.insert(service.id.clone()),
            false => self.asking.remove(&service.id),
        };
        if is_asking || was_asking {
            self.due.insert(service.id.clone(), now);
        }
    }

    pub(crate) fn observe_task(&mut self, now: SystemTime, delta: &Delta<Task>) {
        let Some(task) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        let is_moving = task.moved.is_some() && delta.old.as_ref().is_none_or(|old| !is_up(old));
        if is_moving {
            self.due.insert(task.service_id.clone(), now);
        } else if self.asking.contains(&task.service_id) && is_news(delta) {
            self.look_by(&task.service_id, now + LOOK_PAUSE);
        }
    }

    pub(crate) fn observe_node(&mut self, now: SystemTime, delta: &Delta<Node>) {
        let Some(node) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        let stand = |node: &Option<Arc<Node>>| {
            node.as_ref().map(|node| (is_down(node), availability(node)))
        };
        let is_change = stand(&delta.old) != stand(&delta.new);
        match (&delta.new, is_change) {
            (None, _) => {
                self.changed_at.remove(&node.id);
            }
            (Some(_), true) => {
                self.changed_at.insert(node.id.clone(), now);
            }
            (Some(_), false) => {}
        }
        let by = if is_change { now } else { now + LOOK_PAUSE };
        let asking: Vec<String> = self.asking.iter().cloned().collect();
        asking.iter().for_each(|service| self.look_by(service, by));
    }

    fn look_by(&mut self, service: &str, by: SystemTime) {
        let due = self.due.entry(service.to_owned()).or_insert(by);
        *due = by.min(*due);
    }

    pub(crate) fn wakeup(&self) -> Option<SystemTime> {
        self.due.values().min().copied()
    }

    /// Whether the last plan was full before everything was looked at.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Looks at every service whose time has come.
    pub(crate) fn step(&mut self, plan: &mut Plan, restarts: &mut Restarts, updates: &Updates) {
        let is_due = |(_, at): &(&String, &SystemTime)| **at <= plan.now;
        let due: Vec<String> =
            self.due.iter().filter(is_due).map(|(service, _)| service.clone()).collect();
        self.is_behind = false;
        for id in due {
            if plan.len() >= PORTION {
                self.is_behind = true;
                return;
            }
            self.due.remove(&id);
            if let Some(service) = plan.tables.get::<Service>(&id).cloned()
                && let Some(next) = self.look(plan, restarts, updates, &service)
            {
                self.is_behind |= next <= plan.now;
                self.due.insert(id, next);
            }
        }
    }

    /// Goes on with a service's moves; when to look again although nothing happened.
    fn look(
        &self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        updates: &Updates,
        service: &Service,
    ) -> Option<SystemTime> {
        let standing = Standing::of(updates, service);
        for pair in Survey::new(&plan.tables, service, plan.now).pairs {
            advance(plan, service, standing, &pair);
        }
        if standing == Standing::Updating {
            return None;
        }
        let survey = Survey::new(&plan.tables, service, plan.now);
        if let Some(until) = survey.backs_off_until(plan.now) {
            return Some(until);
        }
        let drains = drain::step(plan, restarts, service, &survey);
        let rebalances = match Rebalance::of(service) {
            Some(options) if standing == Standing::Settled => {
                let survey = Survey::new(&plan.tables, service, plan.now);
                rebalance::step(plan, restarts, service, options, survey, &self.changed_at)
            }
            _ => None,
        };
        drains.into_iter().chain(rebalances).min()
    }
}

/// Replaces a task that ended or lost its node, unless another is on its way into its slot.
pub(crate) fn replace(
    plan: &mut Plan,
    restarts: &mut Restarts,
    service: &Service,
    task: &Arc<Task>,
) {
    if !pair::ended(plan, restarts, service, task) {
        restarts.restart(plan, service, task);
    }
}

/// How a service stands with its update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Settled,
    Paused,
    Updating,
}

impl Standing {
    fn of(updates: &Updates, service: &Service) -> Self {
        match service.update_status.as_ref().map(UpdateStatus::state) {
            _ if updates.is_running(&service.id) => Self::Updating,
            Some(UpdateState::Updating | UpdateState::RollbackStarted) => Self::Updating,
            Some(UpdateState::Paused | UpdateState::RollbackPaused) => Self::Paused,
            _ => Self::Settled,
        }
    }
}

/// Whether a service asks for anything of this room.
fn asks(service: &Service) -> bool {
    let is_replicated = matches!(mode(service), Some(Mode::Replicated(_)));
    is_replicated && (Drain::of(service) == Drain::StartFirst || Rebalance::of(service).is_some())
}

/// Whether a task came up, ended, or went: what may make a spread uneven, or even.
fn is_news(delta: &Delta<Task>) -> bool {
    let stand =
        |task: &Option<Arc<Task>>| task.as_ref().map(|task| (is_up(task), is_runnable(task)));
    stand(&delta.old) != stand(&delta.new)
}

/// Ends a move that is over, or that nobody wants any more.
fn advance(plan: &mut Plan, service: &Service, standing: Standing, pair: &Pair) {
    if is_up(&pair.new) {
        pair.finish(plan);
        forget_failures(plan, service);
        return;
    }
    let node = plan.tables.get::<Node>(&pair.new.node_id).map(|node| &**node);
    let is_wanted = match pair.reason() {
        Reason::Drain => drain::wants(&plan.tables, service, &pair.old),
        Reason::Rebalance => Rebalance::of(service).is_some() && standing == Standing::Settled,
        Reason::Unspecified => false,
    };
    if !is_wanted || standing == Standing::Updating || is_dirty(service, &pair.new, node) {
        pair.cancel(plan);
    } else if pair.is_refused() {
        pair.fail(plan);
    }
}

fn forget_failures(plan: &mut Plan, service: &Service) {
    let failed = plan.tables.tasks_by_service(&service.id);
    let failed: Vec<String> =
        failed.filter(|task| task.move_failures.is_some()).map(|task| task.id.clone()).collect();
    failed.iter().for_each(|id| plan.update_task(id, |task| task.move_failures = None));
}

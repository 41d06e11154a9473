//! What a plan consists of: tasks that end unplaced, tasks checked on the nodes they came with, groups placed, reasons
//! told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::v1::{Service, Task};
use swarm_store::{PORTION, Tables, Write};

use crate::decision::{ASSIGNED, CONFIRMED, assign, no_suitable_node, refuse, shut_down};
use crate::demand::Demand;
use crate::filter;
use crate::node::is_active;
use crate::scheduler::Scheduler;
use crate::spread::Spread;

/// Checks of a demand against a node that one plan spends on new groups, and as many on old reasons: some milliseconds.
const CHECKS_MAX: usize = 20_000;
/// Tasks that one plan places: of one demand, a new look at all nodes is the price of going on.
const PLACED_MAX: usize = 4 * PORTION;
/// Old reasons that one plan tells anew, roughly: a node that comes or goes may change those of all that wait.
const REASONS_MAX: usize = 200;
/// How soon the next plan goes on with old reasons.
const REASONS_PAUSE: Duration = Duration::from_millis(100);

/// What came of placing a group.
struct Placing {
    /// Whether it has been judged whole.
    is_all: bool,
    /// How many nodes were looked at.
    checks: usize,
}

impl Scheduler {
    /// A task that is not wanted any more ends here: nobody else would ever say that it stopped, since no agent has it.
    pub(crate) fn end_unwanted(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        writes: &mut Vec<Write>,
    ) {
        for id in std::mem::take(&mut self.unwanted) {
            if let Some(task) = tables.get::<Task>(&id) {
                writes.push(Write::UpdateTask(Box::new(shut_down(now, task))));
            }
        }
    }

    /// Checks the tasks that came with a node, where they are new or the node changed. They go first: a global
    /// service's task can run nowhere else.
    pub(crate) fn confirm_preassigned(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        touched: &BTreeSet<String>,
        writes: &mut Vec<Write>,
    ) {
        let mut nodes = std::mem::take(&mut self.unchecked);
        nodes.extend(touched.iter().cloned());
        for node in nodes {
            // One that is not known is asked again when it is.
            let Some(tasks) = self.preassigned.get_mut(&node) else { continue };
            tasks.retain(|id| {
                let Some(task) = tables.get::<Task>(id).filter(|task| is_active(task)) else {
                    return false;
                };
                let Some(info) = self.nodes.get(&node) else { return true };
                let demand = Demand::new(task);
                let around = self.neighbours.around(tables, &self.nodes, &demand);
                if filter::check(&demand, &around, info).is_ok() {
                    let assigned = Arc::new(assign(now, task, &demand, info, CONFIRMED));
                    self.nodes.count(&assigned);
                    writes.push(Write::UpdateTask(Box::new(Task::clone(&assigned))));
                    return false;
                }
                let reason = filter::explain(&demand, &around, std::iter::once(info));
                writes.extend(refuse(now, task, reason));
                true
            });
        }
    }

    /// Places the groups that are new or may have room again, and tells why to those that came to one that has none: a
    /// portion of them.
    pub(crate) fn place_groups(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        writes: &mut Vec<Write>,
    ) {
        while writes.len() < PORTION
            && let Some(demand) = self.hopeful.pop_first()
        {
            if !self.place(now, tables, &demand, writes).is_all {
                self.hopeful.insert(demand);
            }
        }
        let mut checks = 0;
        for demand in self.waiting.unjudged(PORTION) {
            if writes.len() >= PORTION || checks >= CHECKS_MAX {
                return;
            }
            checks += self.place(now, tables, &demand, writes).checks;
        }
        for (demand, reason) in self.waiting.joined() {
            if writes.len() >= PORTION {
                return;
            }
            self.give_up(now, tables, &demand, &reason, writes);
        }
    }

    /// Places a group; what finds no room goes on waiting, with the reason. A portion is placed at a time.
    fn place(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        demand: &Arc<Demand>,
        writes: &mut Vec<Write>,
    ) -> Placing {
        let around = self.neighbours.around(tables, &self.nodes, demand);
        let mut spread = Spread::new(now, demand, &around, &mut self.nodes);
        while let Some(id) = self.waiting.next(demand).cloned() {
            if writes.len() >= PLACED_MAX {
                return Placing { is_all: false, checks: spread.checks() };
            }
            if let Some(task) = tables.get::<Task>(&id) {
                let Some(place) = spread.take(&self.nodes) else { break };
                if let Some(info) = self.nodes.at(place) {
                    let assigned = Box::new(assign(now, task, demand, info, ASSIGNED));
                    self.nodes.count_at(place, counted(task, &assigned));
                    spread.put_back(place, &self.nodes);
                    writes.push(Write::UpdateTask(assigned));
                }
            }
            self.waiting.remove(&id);
            if around.is_first {
                // It has chosen for the others.
                let checks = spread.checks();
                let rest = self.place(now, tables, demand, writes);
                return Placing { checks: checks + rest.checks, ..rest };
            }
        }
        let mut checks = spread.checks();
        if self.waiting.next(demand).is_some() {
            checks += self.nodes.len();
            self.explain(now, tables, demand, writes);
        }
        Placing { is_all: true, checks }
    }

    /// Says why a group waits.
    fn explain(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        demand: &Arc<Demand>,
        writes: &mut Vec<Write>,
    ) {
        let around = self.neighbours.around(tables, &self.nodes, demand);
        let reason = no_suitable_node(&filter::explain(demand, &around, self.nodes.values()));
        self.give_up(now, tables, demand, &reason, writes);
    }

    fn give_up(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        demand: &Arc<Demand>,
        reason: &str,
        writes: &mut Vec<Write>,
    ) {
        for id in self.waiting.give_up(demand, reason, PORTION) {
            let task = tables.get::<Task>(&id).filter(|task| is_current(tables, task));
            writes.extend(task.and_then(|task| refuse(now, task, reason.to_owned())));
        }
    }

    /// Groups that one plan judges of those that wait for it.
    pub(crate) fn groups_max(&self) -> usize {
        (CHECKS_MAX / self.nodes.len().max(1)).max(1)
    }

    /// Tells reasons anew that are in doubt, some at a time.
    pub(crate) fn tell_reasons(
        &mut self,
        now: SystemTime,
        tables: &Tables,
        writes: &mut Vec<Write>,
    ) {
        if self.reasons_due.is_some_and(|due| now < due) {
            return;
        }
        let mut left = REASONS_MAX;
        for demand in self.waiting.doubted(self.groups_max()) {
            let before = writes.len();
            self.explain(now, tables, &demand, writes);
            left = left.saturating_sub(writes.len() - before);
            if left == 0 {
                break;
            }
        }
        self.reasons_due = None;
        self.put_off_reasons(now);
    }

    /// Sees to it that reasons in doubt are told soon.
    pub(crate) fn put_off_reasons(&mut self, now: SystemTime) {
        if self.waiting.has_doubts() {
            self.reasons_due.get_or_insert(now + REASONS_PAUSE);
        }
    }
}

/// Whether the task is of its service's newest specification: what an update is about to replace needs no reason.
fn is_current(tables: &Tables, task: &Task) -> bool {
    if task.service_id.is_empty() {
        return true;
    }
    let Some(service) = tables.get::<Service>(&task.service_id) else { return false };
    match (&service.spec_version, &task.spec_version) {
        (Some(newest), Some(own)) => newest.index <= own.index,
        _ => true,
    }
}

/// What to count of a task that was just placed: as it was while it waited, it takes as much of its node, but for what
/// was chosen for it there.
fn counted(waiting: &Arc<Task>, assigned: &Task) -> Arc<Task> {
    match assigned.assigned_generic_resources.is_empty() {
        true => waiting.clone(),
        false => Arc::new(assigned.clone()),
    }
}

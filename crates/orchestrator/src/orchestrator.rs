//! The control loop: gathers what changed, and lets each kind of service be reconciled.
//!
//! Tasks come before services: a task that ended is replaced in its slot before the slots are counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::id::IdSource;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{Node, Service, Task, TaskState};
use swarm_store::{Change, ControlLoop, Delta, PORTION, Tables, Write};

use crate::due::Due;
use crate::moves::{self, Moves};
use crate::options::Drain;
use crate::plan::{Plan, first};
use crate::restart::Restarts;
use crate::task::{is_dead, is_down, is_invalid, mode, observed};
use crate::update::{News, Updates};
use crate::{doubled, global, hold, jobs, options, replicated, returning};

/// Tasks that ended and services that one plan looks at: some milliseconds, as a new leader looks at all of them.
const TASKS_MAX: usize = 1000;
const SERVICES_MAX: usize = 256;

/// The orchestrator's state: what to look at, what is delayed and what is being updated.
pub struct Orchestrator {
    restarts: Restarts,
    updates: Updates,
    moves: Moves,
    services: BTreeSet<String>,
    /// Slots of services that are known to be empty: those of a large service are filled a portion at a time, without a
    /// look at all of its tasks for each.
    empty: BTreeMap<String, VecDeque<u64>>,
    /// Services that are gone and whose tasks are to go.
    deleted: BTreeSet<String>,
    /// Tasks that ended, or whose nodes cannot keep them.
    tasks: BTreeSet<String>,
    /// Nodes that may have become fit for global services.
    nodes: BTreeSet<String>,
    /// Nodes that were down and are back.
    returned: BTreeSet<String>,
    /// Tasks whose node is down and that are taken to be alive, by when to look again.
    held: Due,
    /// Tasks that are back beside their replacements, by when these may go.
    back: Due,
    /// Tasks of updated services that came up.
    came_up: BTreeSet<String>,
    /// Services with an update under way, and their tasks that changed.
    updating: BTreeMap<String, BTreeSet<String>>,
    is_behind: bool,
}

impl Orchestrator {
    /// An orchestrator that takes the identifiers of new tasks from `ids`.
    pub fn new(ids: IdSource) -> Self {
        Self {
            restarts: Restarts::new(ids),
            updates: Updates::default(),
            moves: Moves::default(),
            services: BTreeSet::new(),
            empty: BTreeMap::new(),
            deleted: BTreeSet::new(),
            tasks: BTreeSet::new(),
            nodes: BTreeSet::new(),
            returned: BTreeSet::new(),
            held: Due::default(),
            back: Due::default(),
            came_up: BTreeSet::new(),
            updating: BTreeMap::new(),
            is_behind: false,
        }
    }
}

impl ControlLoop for Orchestrator {
    fn name(&self) -> &'static str {
        "orchestrator"
    }

    fn resync(&mut self, now: SystemTime, tables: &Tables) {
        self.restarts.resync(now, tables);
        self.updates.clear();
        self.moves.resync(now, tables);
        self.updating.clear();
        self.came_up.clear();
        self.empty.clear();
        self.nodes.clear();
        self.returned.clear();
        self.held.clear();
        self.back.clear();
        tables.iter::<Service>().for_each(|service| options::tell(service));
        for original in
            tables.iter::<Service>().flat_map(|service| doubled::originals(tables, service))
        {
            self.back.add(now + doubled::SETTLING, &original);
        }
        self.services = tables.iter::<Service>().map(|service| service.id.clone()).collect();
        self.tasks = tables
            .iter::<Task>()
            .filter(|task| needs_look(tables, task))
            .map(|task| task.id.clone())
            .collect();
        let services =
            tables.iter::<Task>().map(|task| &task.service_id).filter(|id| !id.is_empty());
        self.deleted = services.filter(|id| tables.get::<Service>(id).is_none()).cloned().collect();
    }

    fn observe(&mut self, now: SystemTime, tables: &Tables, change: &Change) {
        match change {
            Change::Service(delta) => self.observe_service(now, tables, delta),
            Change::Task(delta) => self.observe_task(now, tables, delta),
            Change::Node(delta) => self.observe_node(now, tables, delta),
            _ => {}
        }
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        let mut plan = Plan::new(now, tables);
        self.remove_deleted(&mut plan);
        self.take_back(&mut plan);
        self.tasks.extend(self.held.expire(now));
        self.restart_tasks(&mut plan);
        for original in self.back.expire(now) {
            doubled::settle(&mut plan, &mut self.restarts, &original);
        }
        let mut updating = std::mem::take(&mut self.updating);
        for (service, task) in self.restarts.expire(&mut plan) {
            updating.entry(service).or_default().insert(task);
        }
        self.reconcile(&mut plan);
        self.moves.step(&mut plan, &mut self.restarts, &self.updates);
        for service in self.updates.due(now) {
            updating.entry(service).or_default();
        }
        for task in std::mem::take(&mut self.came_up) {
            self.updates.settle(&mut plan, &task);
        }
        for (service, tasks) in updating {
            self.updates.step(&mut plan, &mut self.restarts, &service, News::Tasks(&tasks));
        }
        self.is_behind = !self.tasks.is_empty()
            || !self.services.is_empty()
            || self.updates.is_behind()
            || self.moves.is_behind();
        plan.into_writes()
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn wakeup(&self) -> Option<SystemTime> {
        let own = [self.restarts.wakeup(), self.updates.wakeup(), self.moves.wakeup()];
        let waits = [self.held.wakeup(), self.back.wakeup()];
        own.into_iter().chain(waits).flatten().min()
    }
}

impl Orchestrator {
    fn observe_service(&mut self, now: SystemTime, tables: &Tables, delta: &Delta<Service>) {
        let before = delta.old.as_ref().map(|old| &old.spec);
        if let Some(new) = delta.new.as_ref().filter(|new| before != Some(&new.spec)) {
            options::tell(new);
        }
        self.moves.observe_service(now, delta);
        let drain = |service: &Option<Arc<Service>>| service.as_ref().map(|it| Drain::of(it));
        if drain(&delta.old) == Some(Drain::StartFirst)
            && let Some(new) = delta.new.as_ref().filter(|new| Drain::of(new) != Drain::StartFirst)
        {
            // What drained nodes kept until now has to go.
            let tasks = tables.tasks_by_service(&new.id).filter(|task| needs_look(tables, task));
            self.tasks.extend(tasks.map(|task| task.id.clone()));
        }
        match (&delta.old, &delta.new) {
            (old, Some(new)) => {
                if old.as_ref().is_some_and(|old| hold::is_shorter(old, new)) {
                    let held = tables.tasks_by_service(&new.id);
                    let held = held.filter(|task| needs_look(tables, task));
                    self.tasks.extend(held.map(|task| task.id.clone()));
                }
                self.empty.remove(&new.id);
                self.services.insert(new.id.clone());
            }
            (Some(old), None) => {
                self.empty.remove(&old.id);
                self.restarts.forget_service(&old.id);
                self.services.remove(&old.id);
                self.deleted.insert(old.id.clone());
            }
            (None, None) => {}
        }
    }

    fn observe_task(&mut self, now: SystemTime, tables: &Tables, delta: &Delta<Task>) {
        self.moves.observe_task(now, delta);
        let Some(task) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        self.restarts.observe_task(&task.id);
        if self.updates.is_running(&task.service_id) {
            let tasks = self.updating.entry(task.service_id.clone()).or_default();
            tasks.insert(task.id.clone());
        }
        if came_up(delta) && is_updated(tables, task) {
            self.came_up.insert(task.id.clone());
        }
        match &delta.new {
            Some(new) if needs_look(tables, new) => {
                self.tasks.insert(new.id.clone());
            }
            // One completion of a job more: the next may start.
            Some(new) if has_completed_job(new) => {
                self.services.insert(new.service_id.clone());
            }
            // One less: a machine that lost its power may not know any more that it had completed a task.
            Some(new) if delta.old.as_ref().is_some_and(|old| has_completed_job(old)) => {
                self.services.insert(new.service_id.clone());
            }
            // Somebody deleted a task that was to run: its slot is empty now.
            None if is_wanted(task) => {
                self.empty.remove(&task.service_id);
                self.services.insert(task.service_id.clone());
            }
            _ => {}
        }
    }

    fn observe_node(&mut self, now: SystemTime, tables: &Tables, delta: &Delta<Node>) {
        let Some(node) = delta.new.as_ref().or(delta.old.as_ref()) else { return };
        if let (Some(old), Some(new)) = (&delta.old, &delta.new)
            && (&old.spec, &old.status, &old.description, old.role)
                == (&new.spec, &new.status, &new.description, new.role)
        {
            return;
        }
        self.moves.observe_node(now, delta);
        if delta.new.as_ref().is_some_and(|new| !is_invalid(new)) {
            self.nodes.insert(node.id.clone());
            if delta.old.as_ref().is_some_and(|old| is_down(old)) {
                self.returned.insert(node.id.clone());
            }
            return;
        }
        for task in tables.tasks_by_node(&node.id) {
            self.restarts.observe_task(&task.id);
            if is_wanted(task) {
                self.tasks.insert(task.id.clone());
            }
        }
    }

    fn remove_deleted(&mut self, plan: &mut Plan) {
        for id in std::mem::take(&mut self.deleted) {
            if plan.tables.get::<Service>(&id).is_some() {
                continue;
            }
            let tasks: Vec<_> =
                plan.tables.tasks_by_service(&id).map(|task| task.id.clone()).collect();
            tasks.iter().for_each(|task| plan.desire(task, TaskState::Remove));
        }
    }

    fn take_back(&mut self, plan: &mut Plan) {
        for id in std::mem::take(&mut self.returned) {
            if let Some(node) = plan.tables.get::<Node>(&id).cloned() {
                let back = returning::take_back(plan, &mut self.restarts, &self.updates, &node);
                back.iter().for_each(|id| self.back.add(plan.now + doubled::SETTLING, id));
            }
        }
    }

    fn restart_tasks(&mut self, plan: &mut Plan) {
        for id in first(&mut self.tasks, TASKS_MAX) {
            let Some(task) =
                plan.tables.get::<Task>(&id).filter(|task| needs_look(&plan.tables, task)).cloned()
            else {
                continue;
            };
            let Some(service) = plan.tables.get::<Service>(&task.service_id).cloned() else {
                continue;
            };
            if !self.updates.is_running(&service.id)
                && !doubled::others(&plan.tables, &service, &task).is_empty()
            {
                self.restarts.forget(&task.id);
                plan.desire(&task.id, TaskState::Shutdown);
                continue;
            }
            if let Some(until) = hold::until(plan.now, &plan.tables, &service, &task) {
                self.held.add(until, &task.id);
                continue;
            }
            match mode(&service) {
                Some(Mode::Replicated(_)) => {
                    moves::replace(plan, &mut self.restarts, &service, &task);
                }
                Some(Mode::Global(_)) => global::restart(plan, &mut self.restarts, &service, &task),
                Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)) => {
                    jobs::restart(plan, &mut self.restarts, &service, &task);
                }
                None => {}
            }
        }
    }

    fn reconcile(&mut self, plan: &mut Plan) {
        for _ in 0..SERVICES_MAX {
            if plan.len() >= PORTION {
                break;
            }
            let Some(id) = self.services.pop_first() else { break };
            let Some(service) = plan.tables.get::<Service>(&id).cloned() else { continue };
            let (restarts, updates) = (&mut self.restarts, &mut self.updates);
            let is_all = match mode(&service) {
                Some(Mode::Replicated(replicated)) => {
                    let replicas = replicated.replicas;
                    let empty = match self.empty.remove(&id) {
                        Some(mut empty) => {
                            replicated::fill(plan, restarts, &service, &mut empty);
                            empty
                        }
                        None => replicated::reconcile(plan, restarts, updates, &service, replicas),
                    };
                    let is_all = empty.is_empty();
                    if !is_all {
                        self.empty.insert(id.clone(), empty);
                    }
                    is_all
                }
                Some(Mode::ReplicatedJob(job)) => {
                    jobs::reconcile_replicated(plan, restarts, &service, job)
                }
                Some(Mode::Global(_)) => {
                    global::reconcile(plan, restarts, updates, &service);
                    true
                }
                Some(Mode::GlobalJob(_)) => {
                    jobs::reconcile_global(plan, restarts, &service);
                    true
                }
                None => true,
            };
            if !is_all {
                self.services.insert(id);
            }
        }
        self.reconcile_nodes(plan);
    }

    fn reconcile_nodes(&mut self, plan: &mut Plan) {
        let nodes = std::mem::take(&mut self.nodes);
        if nodes.is_empty() {
            return;
        }
        let nodes: Vec<_> =
            nodes.iter().filter_map(|id| plan.tables.get::<Node>(id).cloned()).collect();
        let services: Vec<_> = plan.tables.iter::<Service>().cloned().collect();
        for service in &services {
            match mode(service) {
                Some(Mode::Global(_)) => nodes.iter().for_each(|node| {
                    global::reconcile_node(plan, &mut self.restarts, &self.updates, service, node);
                }),
                Some(Mode::GlobalJob(_)) => {
                    jobs::reconcile_global(plan, &mut self.restarts, service)
                }
                _ => {}
            }
        }
    }
}

/// Whether a task is still to run, to completion if it belongs to a job.
fn is_wanted(task: &Task) -> bool {
    !task.service_id.is_empty() && task.desired_state <= TaskState::Complete as i32
}

/// Whether a task that is to run cannot: it ended, or its node cannot keep it. A job's task that completed is no such.
fn needs_look(tables: &Tables, task: &Task) -> bool {
    let loses_node = || {
        let keeps = |node: &Node| !is_invalid(node) || moves::keeps(tables, node, task);
        !task.node_id.is_empty()
            && tables.get::<Node>(&task.node_id).is_none_or(|node| !keeps(node))
    };
    is_wanted(task) && !has_completed_job(task) && (is_dead(task) || loses_node())
}

/// Whether this change is the one by which the task came up.
fn came_up(delta: &Delta<Task>) -> bool {
    let is_up = |task: &Option<Arc<Task>>| {
        task.as_ref().is_some_and(|task| observed(task) == TaskState::Running as i32)
    };
    is_up(&delta.new) && !is_up(&delta.old)
}

/// Whether the task's service was ever updated since its specification was last asked for.
fn is_updated(tables: &Tables, task: &Task) -> bool {
    tables.get::<Service>(&task.service_id).is_some_and(|service| service.update_status.is_some())
}

fn has_completed_job(task: &Task) -> bool {
    task.job_iteration.is_some() && observed(task) == TaskState::Complete as i32
}

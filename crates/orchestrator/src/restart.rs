//! Replacing a task that ended or lost its node, and holding replacements back until their time has come.
//!
//! ```text
//!  task ends ──► old: desired SHUTDOWN          new: desired READY ──(delay over, old task stopped)──► RUNNING
//! ```
//!
//! A replacement is prepared on its node at once and only its start is delayed. Mirrors SwarmKit's
//! `manager/orchestrator/restart`, but for one thing: a task that did not end by itself but lost its node (down, drained
//! or removed) is replaced without delay. The delay is there to slow down loops of failing tasks; a dead node is none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarm_proto::id::IdSource;
use swarm_proto::v1::{Node, Service, Task, TaskState, UpdateStatus, update_status};
use swarm_store::Tables;

use crate::backoff;
use crate::defaults::restart_delay;
use crate::delay::{Delay, OLD_TASK_TIMEOUT, stopping};
use crate::history::History;
use crate::plan::Plan;
use crate::slot::SlotKey;
use crate::task::{is_dead, is_down, is_invalid, is_runnable, is_stopped, new_task, status_time};
use crate::waits::{self, TELL_AFTER};

/// Replaces tasks. Its state is derived: what is delayed and what was restarted can be read from the tables again.
pub(crate) struct Restarts {
    ids: IdSource,
    history: History,
    delays: BTreeMap<String, Delay>,
    /// (instant, delayed task): when to look at a delay again.
    due: BTreeSet<(SystemTime, String)>,
    /// (task waited for, delayed task).
    waiting: BTreeSet<(String, String)>,
    /// Delayed tasks to look at because what they wait for changed.
    check: BTreeSet<String>,
}

impl Restarts {
    pub(crate) fn new(ids: IdSource) -> Self {
        Self {
            ids,
            history: History::default(),
            delays: BTreeMap::new(),
            due: BTreeSet::new(),
            waiting: BTreeSet::new(),
            check: BTreeSet::new(),
        }
    }

    /// A new task of `service` for `slot`, not yet part of any plan.
    pub(crate) fn new_task(&mut self, plan: &Plan, service: &Service, slot: &SlotKey) -> Task {
        new_task(
            (self.ids)(),
            plan.now,
            plan.tables.cluster().map(|cluster| &**cluster),
            service,
            slot,
        )
    }

    /// Forgets everything, and takes up the delays that the tables show.
    pub(crate) fn resync(&mut self, now: SystemTime, tables: &Tables) {
        self.history = History::rebuild(tables);
        let known = std::mem::take(&mut self.delays);
        (self.due, self.waiting, self.check) = Default::default();
        let ready = |task: &&Arc<Task>| {
            task.desired_state == TaskState::Ready as i32 && !task.service_id.is_empty()
        };
        for task in tables.iter::<Task>().filter(ready) {
            let delay = known
                .get(&task.id)
                .map(|delay| delay.no_later(now, task))
                .unwrap_or_else(|| Delay::reconstruct(now, tables, task));
            self.insert(&task.id, delay);
        }
    }

    /// Takes note that a task or its node changed, for those that wait for it.
    pub(crate) fn observe_task(&mut self, id: &str) {
        let waiting = self.waiting.range((id.to_owned(), String::new())..);
        self.check
            .extend(waiting.take_while(|(of, _)| of == id).map(|(_, delayed)| delayed.clone()));
        if self.delays.contains_key(id) {
            self.check.insert(id.to_owned());
        }
    }

    /// The delay of a task that will not start is over.
    pub(crate) fn forget(&mut self, task_id: &str) {
        self.remove(task_id);
    }

    pub(crate) fn forget_service(&mut self, service_id: &str) {
        self.history.forget_service(service_id);
    }

    /// Whether `task`, which ended, is to be replaced under its restart policy.
    pub(crate) fn should_restart(&self, task: &Task, service: &Service) -> bool {
        self.history.should_restart(task, service)
    }

    pub(crate) fn is_delayed(&self, task_id: &str) -> bool {
        self.delays.contains_key(task_id)
    }

    pub(crate) fn wakeup(&self) -> Option<SystemTime> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Replaces a task if its service's restart policy says so; shuts it down in any case.
    pub(crate) fn restart(&mut self, plan: &mut Plan, service: &Service, task: &Arc<Task>) {
        let node = plan.tables.get::<Node>(&task.node_id);
        let lost =
            !task.node_id.is_empty() && node.is_none_or(|node| is_invalid(node)) && !is_dead(task);
        let gone = !task.node_id.is_empty() && node.is_none_or(|node| is_down(node));
        let (predecessor, delay, failures) = match self.delays.get_mut(&task.id) {
            Some(delay) if !lost => {
                delay.failed = true;
                return;
            }
            // The replacement of a task that was still waiting waits in its place.
            Some(delay) => {
                let rest = delay.start_at.duration_since(plan.now).unwrap_or_default();
                let old = delay.wait_for.as_ref().and_then(|(old, _)| plan.tables.get::<Task>(old));
                (old.cloned(), rest, backoff::failures_before(task))
            }
            None => {
                let (delay, failures) = match backoff::after(service, task) {
                    _ if lost => (Duration::ZERO, backoff::failures_before(task)),
                    Some(after) => after,
                    None => (restart_delay(task), 0),
                };
                ((!gone).then(|| task.clone()), delay, failures)
            }
        };
        self.remove(&task.id);
        plan.desire(&task.id, TaskState::Shutdown);
        if !self.history.should_restart(task, service) {
            return;
        }
        let replacement = Task {
            desired_state: TaskState::Ready as i32,
            job_iteration: task.job_iteration,
            restart_backoff: backoff::mark(failures, plan.now + delay),
            ..self.new_task(plan, service, &SlotKey::of(service, task))
        };
        self.history.record(plan.now, &SlotKey::of(service, &replacement), &replacement);
        let id = replacement.id.clone();
        plan.create_task(replacement);
        self.delay_start(plan, &id, predecessor.as_deref(), delay);
    }

    /// Starts a task that is desired READY after `delay`, and not before `predecessor` stopped.
    pub(crate) fn delay_start(
        &mut self,
        plan: &mut Plan,
        id: &str,
        predecessor: Option<&Task>,
        delay: Duration,
    ) {
        self.remove(id);
        let wait_for = predecessor
            .filter(|task| !is_stopped(task) && !is_dead(task))
            .map(|task| (task.id.clone(), plan.now + OLD_TASK_TIMEOUT));
        let start_at = plan.now + delay;
        self.insert(id, Delay { start_at, wait_for, failed: false, tell_at: None });
        self.finish(plan, id);
    }

    /// Starts whatever was delayed and need not wait any longer; returns these tasks, after their services.
    pub(crate) fn expire(&mut self, plan: &mut Plan) -> Vec<(String, String)> {
        let mut ids = std::mem::take(&mut self.check);
        while self.due.first().is_some_and(|(at, _)| *at <= plan.now) {
            ids.extend(self.due.pop_first().map(|(_, id)| id));
        }
        let mut started = Vec::new();
        for id in ids {
            let service = plan.tables.get::<Task>(&id).map(|task| task.service_id.clone());
            if self.finish(plan, &id) {
                started.extend(service.map(|service| (service, id)));
            }
        }
        started
    }

    /// The tasks of a slot that an update would act on: those that are to run, else the newest if it ended for good.
    pub(crate) fn updatable(&self, slot: &[Arc<Task>], service: &Service) -> Vec<Arc<Task>> {
        let runnable: Vec<_> = slot.iter().filter(|task| is_runnable(task)).cloned().collect();
        // A rollback takes the service back to where it was, whatever of it had ended by then.
        if !runnable.is_empty() || is_rolling_back(service) {
            return runnable;
        }
        let newest = slot.iter().max_by_key(|task| status_time(task));
        newest
            .filter(|task| !self.history.should_restart(task, service))
            .into_iter()
            .cloned()
            .collect()
    }

    /// Ends a delay whose time has come; false while it must go on.
    fn finish(&mut self, plan: &mut Plan, id: &str) -> bool {
        let Some(delay) = self.delays.get(id) else { return false };
        let failed = delay.failed;
        let Some(task) = plan.tables.get::<Task>(id).cloned() else {
            self.remove(id);
            return true;
        };
        if task.desired_state < TaskState::Running as i32 {
            if let Some(next) = delay.postponed(plan.now, &plan.tables) {
                self.due.remove(&(delay.start_at, id.to_owned()));
                self.due.insert((next, id.to_owned()));
                self.tell(plan, &task);
                return false;
            }
            if let Some(delay) = self.next_predecessor(plan, &task) {
                self.remove(id);
                self.insert(id, delay);
                return false;
            }
            // The tasks of a job are started to be completed.
            let state =
                if task.job_iteration.is_some() { TaskState::Complete } else { TaskState::Running };
            plan.desire(id, state);
        }
        self.remove(id);
        if failed
            && let Some(service) = plan.tables.get::<Service>(&task.service_id).cloned()
            && let Some(task) = plan.tables.get::<Task>(id).cloned()
            && task.desired_state <= TaskState::Complete as i32
        {
            self.restart(plan, &service, &task);
        }
        true
    }

    /// Lets a task that waits say why, a little after it has come so far.
    fn tell(&mut self, plan: &mut Plan, task: &Task) {
        let Some(delay) = self.delays.get_mut(&task.id) else { return };
        let told = task.status.as_ref().map_or("", |status| &*status.err);
        let reason = waits::reason(plan.now, &plan.tables, task, delay);
        let Some(reason) = reason.filter(|reason| reason != told) else { return };
        let at = *delay.tell_at.get_or_insert(plan.now + TELL_AFTER);
        if plan.now < at {
            self.due.insert((at, task.id.clone()));
            return;
        }
        delay.tell_at = None;
        plan.update_task(&task.id, |task| task.status.get_or_insert_default().err = reason);
    }

    /// A delay that waited for one task goes on where another of the slot has not stopped: an update that is superseded
    /// by the next leaves several behind.
    fn next_predecessor(&self, plan: &Plan, task: &Task) -> Option<Delay> {
        let delay = self.delays.get(&task.id)?;
        let (_, until) = delay.wait_for.as_ref().filter(|(_, until)| plan.now < *until)?;
        let next = stopping(&plan.tables, &SlotKey::find(&plan.tables, task), &task.id)?;
        let wait_for = Some((next.id.clone(), *until));
        Some(Delay { wait_for, tell_at: None, ..delay.clone() })
    }

    fn insert(&mut self, id: &str, delay: Delay) {
        self.due.insert((delay.start_at, id.to_owned()));
        if let Some((old, _)) = &delay.wait_for {
            self.waiting.insert((old.clone(), id.to_owned()));
        }
        self.delays.insert(id.to_owned(), delay);
    }

    fn remove(&mut self, id: &str) {
        let Some(delay) = self.delays.remove(id) else { return };
        if let Some((old, until)) = delay.wait_for {
            self.waiting.remove(&(old, id.to_owned()));
            self.due.remove(&(until, id.to_owned()));
        }
        self.due.remove(&(delay.start_at, id.to_owned()));
        if let Some(at) = delay.tell_at {
            self.due.remove(&(at, id.to_owned()));
        }
    }
}

fn is_rolling_back(service: &Service) -> bool {
    service.update_status.as_ref().map(UpdateStatus::state)
        == Some(update_status::UpdateState::RollbackStarted)
}

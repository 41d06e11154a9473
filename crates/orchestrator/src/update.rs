//! Rolling updates: replacing the outdated tasks of a service, so many at a time, watching whether the new ones hold.
//!
//! ```text
//!  slots to update ─► worker: replace, wait until RUNNING, delay ─► next slot … ─► monitor ─► completed
//!                                   │ a new task fails within its monitoring period, and too many did
//!                                   └──► paused, or rolled back to the previous specification
//! ```
//!
//! A pure state machine per service: [`Updates::step`] looks at the tables and the time and goes as far as it can. Lost
//! state is no loss: what is left to update can be seen from the tasks. Mirrors SwarmKit's `manager/orchestrator/update`.

mod resume;
mod rollout;
mod room;
mod status;
mod tally;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::slice;
use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Service, Task, TaskState, UpdateStatus};

use crate::moves::Pair;
use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;
use crate::task::{is_runnable, observed};

use rollout::{Inherited, Rollout, Verdict};
use worker::is_slot_dirty;

/// What changed since an update last looked.
#[derive(Clone, Copy)]
pub(crate) enum News<'a> {
    /// Whatever there is.
    Everything,
    /// These tasks, by identifier, and the time.
    Tasks(&'a BTreeSet<String>),
}

impl News<'_> {
    /// Whether a task may have changed.
    fn tells_of(self, task_id: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Tasks(tasks) => tasks.contains(task_id),
        }
    }
}

/// The updates in progress, by service.
#[derive(Default)]
pub(crate) struct Updates {
    running: BTreeMap<String, Rollout>,
}

impl Updates {
    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }

    pub(crate) fn is_running(&self, service_id: &str) -> bool {
        self.running.contains_key(service_id)
    }

    pub(crate) fn wakeup(&self) -> Option<SystemTime> {
        self.running.values().filter_map(Rollout::wakeup).min()
    }

    /// The services whose updates have something to do at `now` although nothing happened.
    pub(crate) fn due(&self, now: SystemTime) -> Vec<String> {
        let is_due =
            |update: &Rollout| update.is_behind || update.wakeup().is_some_and(|at| at <= now);
        let due = self.running.iter().filter(|(_, update)| is_due(update));
        due.map(|(id, _)| id.clone()).collect()
    }

    /// Whether any update has more to do than one plan holds.
    pub(crate) fn is_behind(&self) -> bool {
        self.running.values().any(|update| update.is_behind)
    }

    /// Begins to bring `slots` to the service's specification, unless that is under way.
    pub(crate) fn start(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        service: &Service,
        slots: &[Vec<Arc<Task>>],
    ) {
        if self.running.get(&service.id).is_some_and(|update| update.goal == service.spec) {
            // The same was asked for again: the update goes on, and says so.
            if service.update_status.is_none() {
                status::mark_started(plan, &service.id);
            }
            return;
        }
        let superseded = self.running.remove(&service.id);
        let state = service.update_status.as_ref().map(UpdateStatus::state);
        if matches!(state, Some(UpdateState::Paused | UpdateState::RollbackPaused)) {
            return;
        }
        let is_in_progress =
            matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted));
        let mut dirty = dirty_slots(plan, service, slots);
        if matches!(state, Some(UpdateState::Completed | UpdateState::RollbackCompleted)) {
            // It was told to go on in spite of failures: what has not come up yet is settled when it does.
            dirty.retain(|slot| !is_coming_up(plan, service, slot));
        }
        let inherited = match superseded {
            Some(superseded) => resume::superseded(plan, service, &superseded),
            None if is_in_progress => resume::after_leader_change(plan, service),
            None => Inherited::default(),
        };
        if dirty.is_empty() && inherited.made.is_empty() && inherited.in_flight.is_empty() {
            if is_in_progress {
                status::complete(plan, &service.id, "");
            }
            return;
        }
        if service.update_status.is_none() {
            status::mark_started(plan, &service.id);
        }
        self.running.insert(service.id.clone(), Rollout::new(service, dirty, inherited));
        self.step(plan, restarts, &service.id, News::Everything);
    }

    /// Takes an update as far as it can go now.
    pub(crate) fn step(
        &mut self,
        plan: &mut Plan,
        restarts: &mut Restarts,
        service_id: &str,
        news: News<'_>,
    ) {
        let Some(mut update) = self.running.remove(service_id) else { return };
        let Some(service) = plan.tables.get::<Service>(service_id).cloned() else { return };
        if service.spec != update.goal {
            // Superseded: it stops here, and the next takes over what is in flight.
            self.running.insert(service_id.to_owned(), update);
            return;
        }
        match update.judge(plan, news) {
            Verdict::Pause(message) => return status::pause(plan, service_id, message),
            Verdict::RollBack(task) => return status::roll_back(plan, service_id, &task),
            Verdict::GoOn => {}
        }
        update.work(plan, restarts, &service, news);
        let remarks = update.remarks();
        if update.is_finished(plan.now) {
            status::complete(plan, service_id, &remarks);
            return;
        }
        if !remarks.is_empty() {
            status::remark(plan, service_id, &remarks);
        }
        self.running.insert(service_id.to_owned(), update);
    }

    /// A task came up: others of its slot that an update left to run until then are no longer needed. The update may be
    /// over by then, if it was told to go on in spite of failures.
    pub(crate) fn settle(&self, plan: &mut Plan, task_id: &str) {
        let Some(task) = plan.tables.get::<Task>(task_id).cloned() else { return };
        let Some(service) = plan.tables.get::<Service>(&task.service_id).cloned() else { return };
        let is_paused = service.update_status.as_ref().is_some_and(|status| {
            matches!(status.state(), UpdateState::Paused | UpdateState::RollbackPaused)
        });
        if is_paused
            || !is_runnable(&task)
            || is_slot_dirty(&plan.tables, &service, slice::from_ref(&task))
        {
            return;
        }
        for other in SlotKey::of(&service, &task).tasks(&plan.tables) {
            if other.id != task.id && is_runnable(&other) {
                plan.desire(&other.id, TaskState::Shutdown);
            }
        }
    }
}

/// Whether a slot has a task of the right specification that has not come up yet.
fn is_coming_up(plan: &Plan, service: &Service, slot: &SlotKey) -> bool {
    slot.tasks(&plan.tables).iter().any(|task| {
        is_runnable(task)
            && observed(task) < TaskState::Running as i32
            && !is_slot_dirty(&plan.tables, service, slice::from_ref(task))
    })
}

/// The slots that need work. Those of which nothing runs go first, as it costs nothing to replace what does not run;
/// then those with several tasks, which an update before this one has begun.
fn dirty_slots(plan: &Plan, service: &Service, slots: &[Vec<Arc<Task>>]) -> VecDeque<SlotKey> {
    let is_up = |task: &Arc<Task>| observed(task) == TaskState::Running as i32;
    let order = |slot: &&Vec<Arc<Task>>| match slot.len() {
        _ if !slot.iter().any(is_up) => 0,
        2.. => 1,
        _ => 2,
    };
    let is_dirty = |slot: &[Arc<Task>]| is_slot_dirty(&plan.tables, service, slot);
    // A task that is being moved is no work for an update.
    let is_moving = |slot: &[Arc<Task>]| {
        Pair::among(slot).is_some() && !slot.iter().any(|task| is_dirty(slice::from_ref(task)))
    };
    let mut dirty: Vec<_> =
        slots.iter().filter(|slot| is_dirty(slot) && !is_moving(slot)).collect();
    dirty.sort_by_key(order);
    dirty
        .into_iter()
        .filter_map(|slot| slot.first())
        .map(|task| SlotKey::of(service, task))
        .collect()
}

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

mod rollout;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{Service, Task, UpdateStatus};

use crate::plan::Plan;
use crate::restart::Restarts;
use crate::slot::SlotKey;

use rollout::{Rollout, Verdict, is_slot_dirty};

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

    /// The services whose updates have something to do at `now` by the passing of time alone.
    pub(crate) fn due(&self, now: SystemTime) -> Vec<String> {
        let due =
            self.running.iter().filter(|(_, update)| update.wakeup().is_some_and(|at| at <= now));
        due.map(|(id, _)| id.clone()).collect()
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
            return;
        }
        self.running.remove(&service.id);
        let state = service.update_status.as_ref().map(UpdateStatus::state);
        if matches!(state, Some(UpdateState::Paused | UpdateState::RollbackPaused)) {
            return;
        }
        let dirty: VecDeque<_> = slots
            .iter()
            .filter(|slot| is_slot_dirty(&plan.tables, service, slot))
            .filter_map(|slot| slot.first().map(|task| SlotKey::of(task)))
            .collect();
        if dirty.is_empty() {
            if matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted)) {
                status::complete(plan, &service.id);
            }
            return;
        }
        if service.update_status.is_none() {
            status::mark_started(plan, &service.id);
        }
        self.running.insert(service.id.clone(), Rollout::new(service, dirty));
        self.step(plan, restarts, &service.id);
    }

    /// Takes an update as far as it can go now.
    pub(crate) fn step(&mut self, plan: &mut Plan, restarts: &mut Restarts, service_id: &str) {
        let Some(mut update) = self.running.remove(service_id) else { return };
        let Some(service) = plan.tables.get::<Service>(service_id).cloned() else { return };
        if service.spec != update.goal {
            return;
        }
        match update.judge(plan) {
            Verdict::Pause(message) => return status::pause(plan, service_id, message),
            Verdict::RollBack(task) => return status::roll_back(plan, service_id, &task),
            Verdict::GoOn => {}
        }
        update.work(plan, restarts, &service);
        if update.is_finished(plan.now) {
            status::complete(plan, service_id);
        } else {
            self.running.insert(service_id.to_owned(), update);
        }
    }
}

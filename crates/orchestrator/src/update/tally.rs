//! The tasks that an update made, and whether too many of them failed too early.
//!
//! A failure is a task that ended by itself, or could not be begun, while it was watched: from its making until it has
//! been up for the monitoring period. One that was told to stop (its service was scaled down, its node drained) says
//! nothing about the new version; SwarmKit counts it all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use swarm_proto::v1::{Task, TaskState};

use super::News;
use crate::plan::Plan;
use crate::task::observed;

/// What an update made, and what became of it.
#[derive(Debug)]
pub(super) struct Tally {
    /// The tasks that are watched, and when each came up.
    watched: BTreeMap<String, Option<SystemTime>>,
    failed: BTreeSet<String>,
    slots_total: usize,
}

impl Tally {
    /// Of an update that has so many slots to do, and made these tasks already.
    pub(super) fn new(slots_total: usize, made: BTreeMap<String, Option<SystemTime>>) -> Self {
        Self { watched: made, failed: BTreeSet::new(), slots_total }
    }

    /// A task was made.
    pub(super) fn made(&mut self, id: String) {
        self.watched.insert(id, None);
    }

    /// A task that was made came up; any other is not watched.
    pub(super) fn came_up(&mut self, id: &str, now: SystemTime) {
        if let Some(at) = self.watched.get_mut(id) {
            at.get_or_insert(now);
        }
    }

    /// How many failed so far.
    pub(super) fn failed(&self) -> usize {
        self.failed.len()
    }

    /// Counts what failed by now; the task by which the failures are more than `ratio_max` of the slots.
    pub(super) fn judge(
        &mut self,
        plan: &Plan,
        news: News<'_>,
        period: Duration,
        ratio_max: f32,
    ) -> Option<String> {
        let ended: Vec<String> = match news {
            News::Everything => self.watched.keys().cloned().collect(),
            News::Tasks(tasks) => tasks.iter().cloned().collect(),
        };
        let has_failed = |id: &String| plan.tables.get::<Task>(id).is_some_and(|it| has_failed(it));
        for id in ended.into_iter().filter(has_failed) {
            let Some(up_at) = self.watched.remove(&id) else { continue };
            let was_up = up_at.map(|at| plan.now.duration_since(at).unwrap_or_default());
            if was_up.is_some_and(|was_up| was_up > period) {
                continue;
            }
            self.failed.insert(id.clone());
            if self.failed.len() as f32 / self.slots_total as f32 > ratio_max {
                return Some(id);
            }
        }
        None
    }
}

/// Whether a task ended by itself or could not be begun.
pub(super) fn has_failed(task: &Task) -> bool {
    [TaskState::Complete, TaskState::Failed, TaskState::Rejected]
        .iter()
        .any(|state| *state as i32 == observed(task))
}

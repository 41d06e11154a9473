//! A plan in the making: writes on a scratch copy of the tables, so that later decisions see earlier ones.
//!
//! Several decisions about one task become one write. The copy is a pointer copy; nothing leaks back. Nothing is deleted
//! here: that is the reaper's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use swarm_proto::v1::{Service, Task, TaskState};
use swarm_store::{Tables, Write};

/// The scratch tables and what was changed on them.
pub(crate) struct Plan {
    pub(crate) now: SystemTime,
    pub(crate) tables: Tables,
    tasks: BTreeMap<String, Operation>,
    services: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Update,
}

impl Plan {
    pub(crate) fn new(now: SystemTime, tables: &Tables) -> Self {
        Self { now, tables: tables.clone(), tasks: BTreeMap::new(), services: BTreeSet::new() }
    }

    /// How many writes are planned.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len() + self.services.len()
    }

    pub(crate) fn create_task(&mut self, task: Task) {
        let id = task.id.clone();
        if self.tables.create(task).is_ok() {
            self.tasks.insert(id, Operation::Create);
        }
    }

    pub(crate) fn update_task(&mut self, id: &str, change: impl FnOnce(&mut Task)) {
        let Some(task) = self.tables.get::<Task>(id) else { return };
        let mut task = Task::clone(task);
        change(&mut task);
        if self.tables.update(task).is_ok() {
            self.tasks.entry(id.to_owned()).or_insert(Operation::Update);
        }
    }

    /// Moves a task's desired state forward; never backward.
    pub(crate) fn desire(&mut self, id: &str, state: TaskState) {
        let behind =
            self.tables.get::<Task>(id).is_some_and(|task| task.desired_state < state as i32);
        if behind {
            self.update_task(id, |task| task.desired_state = state as i32);
        }
    }

    pub(crate) fn update_service(&mut self, id: &str, change: impl FnOnce(&mut Service)) {
        let Some(service) = self.tables.get::<Service>(id) else { return };
        let mut service = Service::clone(service);
        change(&mut service);
        if self.tables.update(service).is_ok() {
            self.services.insert(id.to_owned());
        }
    }

    /// The writes: services first, then tasks, each by identifier.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        let Self { tables, tasks, services, .. } = self;
        let services = services.into_iter().filter_map(|id| {
            let service = tables.get::<Service>(&id)?;
            Some(Write::UpdateService(Box::new(Service::clone(service))))
        });
        let tasks = tasks.into_iter().filter_map(|(id, operation)| {
            let task = Box::new(Task::clone(tables.get::<Task>(&id)?));
            Some(match operation {
                Operation::Create => Write::CreateTask(task),
                Operation::Update => Write::UpdateTask(task),
            })
        });
        services.chain(tasks).collect()
    }
}

/// Takes the first `max` out of a set of what is to be looked at.
pub(crate) fn first<T: Ord>(set: &mut BTreeSet<T>, max: usize) -> BTreeSet<T> {
    match set.iter().nth(max) {
        None => std::mem::take(set),
        Some(_) => (0..max).filter_map(|_| set.pop_first()).collect(),
    }
}

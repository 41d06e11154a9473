//! What an agent does with its tasks: `swarm_lifecycle` decides, work takes its time and sometimes fails.

use std::collections::{BTreeMap, BTreeSet};

use swarm_lifecycle::{Operation, Step, failure, next};
use swarm_proto::v1::assignment::Item;
use swarm_proto::v1::assignment_change::AssignmentAction;
use swarm_proto::v1::assignments_message::Type;
use swarm_proto::v1::{AssignmentsMessage, Task, TaskState, TaskStatus, task_spec};

use crate::checks::ports::published;
use crate::env::{Env, Timer};
use crate::reports::Reports;
use crate::worker::Worker;

/// The agent's process.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    driven: BTreeMap<String, Driven>,
    /// Tasks that are no longer assigned, and whose containers are being removed, by the work's number.
    removals: BTreeMap<u64, String>,
    pub(crate) reports: Reports,
    work_last: u64,
}

#[derive(Debug)]
struct Driven {
    task: Task,
    status: TaskStatus,
    work: Option<(u64, Operation, TaskState, &'static str)>,
}

impl Worker {
    /// A task of before the agent's start.
    pub(crate) fn take_up(&mut self, env: &mut Env, task: Task) {
        let id = task.id.clone();
        let status = task.status.clone().unwrap_or_default();
        let Some(agent) = &mut self.agent else { return };
        // The manager may have missed the last report.
        agent.reports.report(&id, status.clone());
        agent.driven.insert(id.clone(), Driven { task, status, work: None });
        self.drive(env, &id);
    }

    /// Follows one message of the assignments stream.
    pub(crate) fn assign(&mut self, env: &mut Env, message: AssignmentsMessage) {
        let is_complete = message.r#type() == Type::Complete;
        let (mut assigned, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for change in message.changes {
            let action = change.action();
            let Some(Item::Task(task)) = change.assignment.and_then(|a| a.item) else { continue };
            if action == AssignmentAction::Remove {
                gone.insert(task.id);
                continue;
            }
            assigned.insert(task.id.clone());
            self.assign_task(env, task);
        }
        let Some(agent) = &self.agent else { return };
        if is_complete {
            gone.extend(agent.driven.keys().filter(|id| !assigned.contains(*id)).cloned());
        }
        for id in gone {
            self.drop_task(env, id);
        }
    }

    fn assign_task(&mut self, env: &mut Env, task: Task) {
        let Some(agent) = &mut self.agent else { return };
        let id = task.id.clone();
        match agent.driven.get_mut(&id) {
            Some(driven) => {
                let is_news = driven.task.desired_state != task.desired_state
                    || driven.task.spec != task.spec;
                driven.task = task;
                if !is_news {
                    return;
                }
                driven.work = None;
            }
            None => {
                let status = task.status.clone().unwrap_or_default();
                agent.driven.insert(id.clone(), Driven { task: task.clone(), status, work: None });
                self.record(task);
            }
        }
        self.drive(env, &id);
    }

    fn record(&mut self, task: Task) {
        let id = task.id.clone();
        let before = self.records.insert(id.clone(), task);
        self.older.insert(id, before);
    }

    /// Lets go of a task: its container is stopped and removed, and it is forgotten once that is done.
    fn drop_task(&mut self, env: &mut Env, id: String) {
        let Some(agent) = &mut self.agent else { return };
        if agent.driven.remove(&id).is_none() {
            return;
        }
        agent.work_last += 1;
        let work = agent.work_last;
        agent.removals.insert(work, id);
        let pause = env.random.millis(1, 500);
        self.timer(env, pause, Timer::Work(work));
    }

    /// Goes on with a task until it waits for work or for the manager.
    fn drive(&mut self, env: &mut Env, id: &str) {
        loop {
            let Some(agent) = &mut self.agent else { return };
            let Some(driven) = agent.driven.get_mut(id).filter(|d| d.work.is_none()) else {
                return;
            };
            match next(driven.status.state(), driven.task.desired_state()) {
                Step::Rest => return,
                Step::Advance(state, message) => self.enter(env, id, state, message),
                Step::Run(operation, state, message) => {
                    agent.work_last += 1;
                    let work = agent.work_last;
                    driven.work = Some((work, operation, state, message));
                    if operation == Operation::Wait {
                        // Ends with the container, which may have ended while nobody looked.
                        let is_job = driven.task.job_iteration.is_some();
                        if !self.engine.is_running(id) {
                            self.finish(env, id, false);
                            continue;
                        }
                        if is_job {
                            let pause = env.random.millis(50, 3000);
                            self.timer(env, pause, Timer::Work(work));
                        }
                        return;
                    }
                    let pause = env.random.millis(5, 1500);
                    return self.timer(env, pause, Timer::Work(work));
                }
            }
        }
    }

    /// Work has taken its time: it has its effect now.
    pub(crate) fn worked(&mut self, env: &mut Env, work: u64) {
        let Some(agent) = &mut self.agent else { return };
        if let Some(id) = agent.removals.remove(&work) {
            if !agent.driven.contains_key(&id) {
                agent.reports.forget(&id);
                self.engine.remove(&id);
                self.records.remove(&id);
                self.older.remove(&id);
            }
            return;
        }
        let at_work = |driven: &Driven| driven.work.is_some_and(|(number, ..)| number == work);
        let found = agent.driven.iter().find(|(_, driven)| at_work(driven));
        let Some((id, operation, ports, never)) = found.and_then(|(id, driven)| {
            let ports = published(&driven.task).collect::<Vec<_>>();
            driven.work.map(|(_, operation, ..)| {
                (id.clone(), operation, ports, never_succeeds(&driven.task, operation))
            })
        }) else {
            return;
        };
        let fails = never || env.is_stormy && env.random.chance(30);
        let is_done = match operation {
            Operation::Prepare if !fails => {
                self.engine.prepare(&id, ports);
                true
            }
            Operation::Start if !fails => self.start_container(env, &id, ports),
            Operation::Wait => {
                self.engine.stop(&id);
                !fails
            }
            Operation::Shutdown => {
                self.engine.stop(&id);
                true
            }
            _ => false,
        };
        self.finish(env, &id, is_done);
        self.drive(env, &id);
        self.report(env);
    }

    fn start_container(&mut self, env: &mut Env, id: &str, ports: Vec<u32>) -> bool {
        let alone = env.checks.running.start(id, self.id);
        env.checks.expect(alone);
        self.engine.prepare(id, ports);
        // A port in use is refused here, and is no violation: after a loss of power an agent that has not reached a
        // manager yet goes by records that may be older than what the managers know.
        self.engine.start(id).is_ok()
    }

    /// A container ends by itself, if it runs.
    pub(crate) fn container_dies(&mut self, env: &mut Env, id: &str) {
        self.engine.stop(id);
        let Some(agent) = &self.agent else { return };
        let waits = |driven: &Driven| matches!(driven.work, Some((_, Operation::Wait, ..)));
        if agent.driven.get(id).is_some_and(waits) {
            self.finish(env, id, false);
            self.drive(env, id);
            self.report(env);
        }
    }

    fn finish(&mut self, env: &mut Env, id: &str, is_done: bool) {
        let Some(agent) = &mut self.agent else { return };
        let Some(driven) = agent.driven.get_mut(id) else { return };
        let Some((_, _, state, message)) = driven.work.take() else { return };
        let (state, message) = match is_done {
            true => (state, message),
            false => (failure(driven.status.state()), "failed"),
        };
        self.enter(env, id, state, message);
    }

    /// Makes `state` the task's: in the record first, then on its way to the manager.
    fn enter(&mut self, env: &mut Env, id: &str, state: TaskState, message: &str) {
        let worker = self.id;
        let Some(agent) = &mut self.agent else { return };
        let Some(driven) = agent.driven.get_mut(id) else { return };
        env.note(format_args!(
            "worker {worker} task {} {}",
            &id[..6.min(id.len())],
            state.as_str_name()
        ));
        driven.status.set_state(state);
        driven.status.message = message.to_owned();
        let task = Task { status: Some(driven.status.clone()), ..driven.task.clone() };
        agent.reports.report(id, driven.status.clone());
        self.record(task);
    }
}

/// Whether a task's image cannot be had, or what is in it ends as soon as it starts.
fn never_succeeds(task: &Task, operation: Operation) -> bool {
    let Some(task_spec::Runtime::Container(container)) =
        task.spec.as_ref().and_then(|spec| spec.runtime.as_ref())
    else {
        return false;
    };
    match operation {
        Operation::Prepare => container.image.starts_with("absent:"),
        Operation::Start => container.image.starts_with("broken:"),
        _ => false,
    }
}

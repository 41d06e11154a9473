//! Bugs that are planted around a control loop; the others are where the simulation stands in for disk and dispatcher.

use std::sync::Arc;
use std::time::SystemTime;

use swarm_proto::v1::{Endpoint, Service, Task};
use swarm_store::{Change, ControlLoop, Delta, Tables, Write};

/// Loops that never see which ports tasks publish.
pub(crate) fn blind(loops: Vec<Box<dyn ControlLoop>>) -> Vec<Box<dyn ControlLoop>> {
    loops.into_iter().map(|inner| Box::new(Blind { inner }) as Box<dyn ControlLoop>).collect()
}

struct Blind {
    inner: Box<dyn ControlLoop>,
}

fn without_ports(task: &Task) -> Task {
    Task { endpoint: None::<Endpoint>, ..task.clone() }
}

fn tables_without_ports(tables: &Tables) -> Tables {
    let mut blinded = tables.clone();
    for task in tables.iter::<Task>() {
        // It is there: it was read from the same tables.
        let _ = blinded.update(without_ports(task));
    }
    blinded
}

impl ControlLoop for Blind {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn resync(&mut self, now: SystemTime, tables: &Tables) {
        self.inner.resync(now, &tables_without_ports(tables));
    }

    fn observe(&mut self, now: SystemTime, tables: &Tables, change: &Change) {
        let hide =
            |task: &Option<Arc<Task>>| task.as_ref().map(|task| Arc::new(without_ports(task)));
        match change {
            Change::Task(Delta { old, new }) => {
                let hidden = Change::Task(Delta { old: hide(old), new: hide(new) });
                self.inner.observe(now, &tables_without_ports(tables), &hidden);
            }
            other => self.inner.observe(now, tables, other),
        }
    }

    fn is_behind(&self) -> bool {
        self.inner.is_behind()
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        let mut writes = self.inner.plan(now, &tables_without_ports(tables));
        for write in &mut writes {
            if let Write::UpdateTask(task) = write {
                task.endpoint = tables.get::<Task>(&task.id).and_then(|task| task.endpoint.clone());
            }
        }
        writes
    }

    fn wakeup(&self) -> Option<SystemTime> {
        self.inner.wakeup()
    }
}

/// Loops that don't note the ticks of schedules.
pub(crate) fn forgetful(loops: Vec<Box<dyn ControlLoop>>) -> Vec<Box<dyn ControlLoop>> {
    loops.into_iter().map(|inner| Box::new(Forgetful { inner }) as Box<dyn ControlLoop>).collect()
}

struct Forgetful {
    inner: Box<dyn ControlLoop>,
}

impl ControlLoop for Forgetful {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn resync(&mut self, now: SystemTime, tables: &Tables) {
        self.inner.resync(now, tables);
    }

    fn observe(&mut self, now: SystemTime, tables: &Tables, change: &Change) {
        self.inner.observe(now, tables, change);
    }

    fn is_behind(&self) -> bool {
        self.inner.is_behind()
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        let mut writes = self.inner.plan(now, tables);
        for write in &mut writes {
            if let Write::UpdateService(service) = write
                && let Some(was) = tables.get::<Service>(&service.id)
                && let (Some(was), Some(is)) = (&was.job_status, &mut service.job_status)
                && was.cron.as_ref().is_some_and(|was| was.last_tick.is_some())
            {
                is.cron.clone_from(&was.cron);
            }
        }
        writes
    }

    fn wakeup(&self) -> Option<SystemTime> {
        self.inner.wakeup()
    }
}

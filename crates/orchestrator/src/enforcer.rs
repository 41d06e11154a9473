//! The constraint enforcer: tasks on a node that changed and no longer suits them are declared REJECTED.
//!
//! The observed state is set, not the desired one: replacing the task is the orchestrator's decision.
//! Mirrors SwarmKit's `manager/orchestrator/constraintenforcer`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::{Node, Placement, Resources, Service, Task, TaskState, TaskStatus};
use swarm_scheduler::generic::Pool;
use swarm_store::{Change, ControlLoop, Tables, Write};

use crate::dirty::suits;
use crate::task::{availability, is_dead, observed};

/// The enforcer's state: the nodes that changed since it last looked.
#[derive(Debug, Default)]
pub struct Enforcer {
    nodes: BTreeSet<String>,
}

/// What is left of a node while its tasks are counted one by one.
struct Room {
    nano_cpus: i64,
    memory_bytes: i64,
    generic: Pool,
}

impl ControlLoop for Enforcer {
    fn name(&self) -> &'static str {
        "constraint enforcer"
    }

    fn resync(&mut self, _now: SystemTime, tables: &Tables) {
        self.nodes = tables.iter::<Node>().map(|node| node.id.clone()).collect();
    }

    fn observe(&mut self, _now: SystemTime, _tables: &Tables, change: &Change) {
        if let Change::Node(delta) = change
            && let (Some(old), Some(new)) = (&delta.old, &delta.new)
            && (&old.spec, &old.description, old.role, &old.status)
                != (&new.spec, &new.description, new.role, &new.status)
        {
            self.nodes.insert(new.id.clone());
        }
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        let nodes = std::mem::take(&mut self.nodes);
        // Draining is the orchestrator's; the tasks of a paused node are left alone.
        let nodes = nodes.iter().filter_map(|id| tables.get::<Node>(id));
        nodes
            .filter(|node| availability(node) == Availability::Active)
            .flat_map(|node| unsuited(tables, node))
            .map(|task| Write::UpdateTask(Box::new(reject(now, task))))
            .collect()
    }

    fn wakeup(&self) -> Option<SystemTime> {
        None
    }
}

/// The tasks that are to run on `node` and should not.
fn unsuited<'a>(tables: &'a Tables, node: &Node) -> Vec<&'a Task> {
    let mut room = Room::new(node);
    let placed = TaskState::Assigned as i32..=TaskState::Complete as i32;
    let counts = |task: &&Task| {
        placed.contains(&task.desired_state) && !is_dead(task) && observed(task) >= *placed.start()
    };
    let tasks = tables.tasks_by_node(&node.id).map(|task| &**task).filter(counts);
    tasks.filter(|task| !suits(placement(tables, task), node) || !room.take(task)).collect()
}

/// The placement that counts: the service's, since a change of constraints that the node meets leaves its tasks as
/// they are, with the old constraints in them.
fn placement<'a>(tables: &'a Tables, task: &'a Task) -> Option<&'a Placement> {
    match tables.get::<Service>(&task.service_id) {
        Some(service) => service.spec.as_ref()?.task.as_ref()?.placement.as_ref(),
        None => task.spec.as_ref()?.placement.as_ref(),
    }
}

impl Room {
    fn new(node: &Node) -> Self {
        let described =
            node.description.as_ref().and_then(|description| description.resources.as_ref());
        let described = described.cloned().unwrap_or_default();
        Self {
            nano_cpus: described.nano_cpus,
            memory_bytes: described.memory_bytes,
            generic: Pool::new(&described.generic),
        }
    }

    /// Takes what a task reserves; false, and nothing taken, where that is more than is left.
    fn take(&mut self, task: &Task) -> bool {
        let none = Resources::default();
        let resources = task.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        let reserved =
            resources.and_then(|resources| resources.reservations.as_ref()).unwrap_or(&none);
        // A task that reserves nothing fits even where more is reserved than there is.
        let fits = |reserved: i64, left: i64| reserved == 0 || reserved <= left;
        let assigned = &task.assigned_generic_resources;
        if !fits(reserved.memory_bytes, self.memory_bytes)
            || !fits(reserved.nano_cpus, self.nano_cpus)
            || !assigned.iter().all(|resource| self.generic.has_assigned(resource))
        {
            return false;
        }
        self.memory_bytes -= reserved.memory_bytes;
        self.nano_cpus -= reserved.nano_cpus;
        self.generic.take(assigned);
        true
    }
}

fn reject(now: SystemTime, task: &Task) -> Task {
    let status = TaskStatus {
        state: TaskState::Rejected as i32,
        message: "task rejected by constraint enforcer".to_owned(),
        err: "assigned node no longer meets constraints".to_owned(),
        timestamp: Some(from_system_time(now)),
        ..task.status.clone().unwrap_or_default()
    };
    Task { status: Some(status), ..task.clone() }
}

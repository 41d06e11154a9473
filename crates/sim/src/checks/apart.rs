//! No two tasks that are to run of a service that keeps apart from itself are on one node.

use std::collections::{BTreeMap, BTreeSet};

use swarm_proto::v1::{Service, Task, TaskState};
use swarm_store::{Change, Commit, Tables};

pub(crate) fn check(commit: &Commit) -> Result<(), String> {
    let mut services = BTreeSet::new();
    for change in commit.changes.iter() {
        if let Change::Task(delta) = change
            && let Some(task) = &delta.new
            && is_apart(&commit.tables, &task.service_id)
        {
            services.insert(task.service_id.as_str());
        }
    }
    services.into_iter().try_for_each(|service| check_service(&commit.tables, service))
}

fn is_apart(tables: &Tables, service: &str) -> bool {
    let Some(spec) = tables.get::<Service>(service).and_then(|service| service.spec.as_ref())
    else {
        return false;
    };
    let name = spec.annotations.as_ref().map_or("", |annotations| &annotations.name);
    let placement = spec.task.as_ref().and_then(|task| task.placement.as_ref());
    placement
        .is_some_and(|placement| placement.constraints.contains(&format!("service.name!={name}")))
}

fn check_service(tables: &Tables, service: &str) -> Result<(), String> {
    let mut nodes = BTreeMap::new();
    for task in tables.tasks_by_service(service).filter(|task| is_to_run(task)) {
        if let Some(other) = nodes.insert(&task.node_id, &task.id) {
            return Err(format!(
                "a service that keeps apart from itself is once on a node: tasks {other} and {} on {}",
                task.id, task.node_id
            ));
        }
    }
    Ok(())
}

fn is_to_run(task: &Task) -> bool {
    let on_node = TaskState::Assigned as i32..=TaskState::Running as i32;
    task.desired_state <= TaskState::Running as i32
        && task.status.as_ref().is_some_and(|status| on_node.contains(&status.state))
}

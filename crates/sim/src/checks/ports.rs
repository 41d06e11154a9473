//! No port that is published on the node itself is given to two tasks of a node at once.

use std::collections::{BTreeMap, BTreeSet};

use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::{Task, TaskState};
use swarm_store::{Change, Commit, Tables};

pub(crate) fn check(commit: &Commit) -> Result<(), String> {
    let mut nodes = BTreeSet::new();
    for change in commit.changes.iter() {
        if let Change::Task(delta) = change
            && let Some(task) = &delta.new
            && !task.node_id.is_empty()
            && published(task).next().is_some()
        {
            nodes.insert(task.node_id.as_str());
        }
    }
    nodes.into_iter().try_for_each(|node| check_node(&commit.tables, node))
}

fn check_node(tables: &Tables, node: &str) -> Result<(), String> {
    let holds = TaskState::Assigned as i32..=TaskState::Running as i32;
    let mut holders = BTreeMap::new();
    for task in tables.tasks_by_node(node) {
        if !task.status.as_ref().is_some_and(|status| holds.contains(&status.state)) {
            continue;
        }
        for port in published(task) {
            if let Some(holder) = holders.insert(port, &task.id) {
                return Err(format!(
                    "a port is given once: {port} of node {node} to tasks {holder} and {}",
                    task.id
                ));
            }
        }
    }
    Ok(())
}

/// The ports that a task publishes on its node.
pub(crate) fn published(task: &Task) -> impl Iterator<Item = u32> {
    task.endpoint
        .iter()
        .flat_map(|endpoint| &endpoint.ports)
        .filter(|port| port.publish_mode == PublishMode::Host as i32 && port.published_port != 0)
        .map(|port| port.published_port)
}

//! What one node has been told, and the changes that bring it up to date with the tables.
//!
//! [`AssignmentSet::reconcile`] compares the tables with what was sent: commits are only hints to call it, so none can
//! be missed, and a burst of them costs one message. Mirrors SwarmKit's `manager/dispatcher/assignments.go`: tasks
//! from ASSIGNED on, the secrets and configs of those that are not finished, and volumes published on the node.
//! Not here: how changes are cut into messages (`messages`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use swarm_proto::v1::assignment::Item;
use swarm_proto::v1::assignment_change::AssignmentAction;
use swarm_proto::v1::volume_publish_status::State as PublishState;
use swarm_proto::v1::{
    Assignment, AssignmentChange, Config, ResourceType, Secret, Task, TaskState, Volume,
    VolumeAssignment, VolumePublishStatus, task_spec,
};
use swarm_store::Tables;

/// A secret or config that tasks refer to; ordered, so that messages come out the same every time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dependency {
    Secret(String),
    Config(String),
}

/// One node's assignments as they were last sent.
#[derive(Debug)]
pub struct AssignmentSet {
    node_id: String,
    tasks: BTreeMap<String, Arc<Task>>,
    dependencies: BTreeSet<Dependency>,
    volumes: BTreeMap<String, i32>,
}

impl AssignmentSet {
    /// Nothing was sent yet.
    pub fn new(node_id: &str) -> Self {
        Self {
            node_id: node_id.to_owned(),
            tasks: BTreeMap::new(),
            dependencies: BTreeSet::new(),
            volumes: BTreeMap::new(),
        }
    }

    /// The changes since the last call, in an order in which they can be applied one by one: what tasks depend on,
    /// tasks, removed tasks, what nothing depends on any more.
    pub fn reconcile(&mut self, tables: &Tables) -> Vec<AssignmentChange> {
        let mut wanted = BTreeSet::new();
        let (updated, removed) = self.reconcile_tasks(tables, &mut wanted);
        let volumes = self.reconcile_volumes(tables, &mut wanted);
        let mut changes = Vec::new();
        for dependency in wanted.difference(&self.dependencies.clone()) {
            if let Some(item) = dependency.item(tables) {
                changes.push(update(item));
                self.dependencies.insert(dependency.clone());
            }
        }
        changes.extend(volumes);
        changes.extend(updated.into_iter().map(|task| update(Item::Task(Task::clone(&task)))));
        changes.extend(
            removed.into_iter().map(|id| remove(Item::Task(Task { id, ..Task::default() }))),
        );
        let released: Vec<Dependency> = self.dependencies.difference(&wanted).cloned().collect();
        for dependency in released {
            self.dependencies.remove(&dependency);
            changes.push(remove(dependency.into_bare_item()));
        }
        changes
    }

    /// Tasks to send and IDs of tasks to remove; adds to `wanted` what the node's tasks depend on.
    fn reconcile_tasks(
        &mut self,
        tables: &Tables,
        wanted: &mut BTreeSet<Dependency>,
    ) -> (Vec<Arc<Task>>, Vec<String>) {
        let mut gone = std::mem::take(&mut self.tasks);
        let mut updated = Vec::new();
        for task in tables.tasks_by_node(&self.node_id) {
            if state(task) < TaskState::Assigned as i32 {
                continue;
            }
            if state(task) <= TaskState::Running as i32 {
                collect_dependencies(task, wanted);
            }
            let sent = gone.remove(&task.id);
            if sent.is_none_or(|sent| matters_to_agent(&sent, task)) {
                updated.push(task.clone());
            }
            self.tasks.insert(task.id.clone(), task.clone());
        }
        (updated, gone.into_keys().collect())
    }

    fn reconcile_volumes(
        &mut self,
        tables: &Tables,
        wanted: &mut BTreeSet<Dependency>,
    ) -> Vec<AssignmentChange> {
        let mut before = std::mem::take(&mut self.volumes);
        let mut changes = Vec::new();
        for volume in tables.iter::<Volume>() {
            let Some(status) =
                volume.publish_status.iter().find(|status| status.node_id == self.node_id)
            else {
                continue;
            };
            let told = before.remove(&volume.id);
            let is_here = status.state == PublishState::Published as i32
                || status.state == PublishState::PendingNodeUnpublish as i32;
            if !is_here {
                continue;
            }
            let secrets = volume.spec.iter().flat_map(|spec| &spec.secrets);
            wanted.extend(secrets.map(|secret| Dependency::Secret(secret.secret.clone())));
            if told != Some(status.state) {
                let item = Item::Volume(volume_assignment(volume, status));
                let is_published = status.state == PublishState::Published as i32;
                changes.push(if is_published { update(item) } else { remove(item) });
            }
            self.volumes.insert(volume.id.clone(), status.state);
        }
        changes
    }
}

impl Dependency {
    /// The object itself; none where it is missing, and for secrets that a driver would have to provide.
    fn item(&self, tables: &Tables) -> Option<Item> {
        match self {
            Self::Secret(id) => {
                let secret = tables.get::<Secret>(id)?;
                let is_driven = secret.spec.as_ref().is_some_and(|spec| spec.driver.is_some());
                (!is_driven).then(|| Item::Secret(Secret::clone(secret)))
            }
            Self::Config(id) => {
                tables.get::<Config>(id).map(|config| Item::Config(Config::clone(config)))
            }
        }
    }

    /// The object with nothing but its ID, as removals name it.
    fn into_bare_item(self) -> Item {
        match self {
            Self::Secret(id) => Item::Secret(Secret { id, ..Secret::default() }),
            Self::Config(id) => Item::Config(Config { id, ..Config::default() }),
        }
    }
}

/// Whether an agent that knows `sent` must hear of `task`: states up to ASSIGNED are set by managers, so they are
/// sent in any case; later ones are what the agent itself reported, and only other fields count.
pub(crate) fn matters_to_agent(sent: &Arc<Task>, task: &Arc<Task>) -> bool {
    if Arc::ptr_eq(sent, task) {
        return false;
    }
    state(task) <= TaskState::Assigned as i32 || !is_same_but_for_status(sent, task)
}

/// Whether a change of a task may be news for its node: what the agent itself reported is none, unless it releases what
/// the task depended on.
pub(crate) fn may_concern_node(old: &Arc<Task>, new: &Arc<Task>) -> bool {
    let is_live = |task: &Task| state(task) <= TaskState::Running as i32;
    matters_to_agent(old, new) || is_live(old) != is_live(new)
}

fn is_same_but_for_status(one: &Task, other: &Task) -> bool {
    let Task {
        id,
        meta: _,
        spec,
        spec_version,
        service_id,
        slot,
        node_id,
        annotations,
        service_annotations,
        status: _,
        desired_state,
        networks,
        endpoint,
        log_driver,
        assigned_generic_resources,
        job_iteration,
        volumes,
        // The managers' own.
        moved: _,
        move_failures: _,
        restart_backoff: _,
    } = one;
    *id == other.id
        && *spec == other.spec
        && *spec_version == other.spec_version
        && *service_id == other.service_id
        && *slot == other.slot
        && *node_id == other.node_id
        && *annotations == other.annotations
        && *service_annotations == other.service_annotations
        && *desired_state == other.desired_state
        && *networks == other.networks
        && *endpoint == other.endpoint
        && *log_driver == other.log_driver
        && *assigned_generic_resources == other.assigned_generic_resources
        && *job_iteration == other.job_iteration
        && *volumes == other.volumes
}

/// The state that was observed last; NEW where none was.
pub(crate) fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(TaskState::New as i32, |status| status.state)
}

fn collect_dependencies(task: &Task, wanted: &mut BTreeSet<Dependency>) {
    let Some(spec) = &task.spec else { return };
    for reference in &spec.resource_references {
        match ResourceType::try_from(reference.resource_type) {
            Ok(ResourceType::Secret) => {
                wanted.insert(Dependency::Secret(reference.resource_id.clone()))
            }
            Ok(ResourceType::Config) => {
                wanted.insert(Dependency::Config(reference.resource_id.clone()))
            }
            _ => false,
        };
    }
    if let Some(task_spec::Runtime::Container(container)) = &spec.runtime {
        wanted.extend(
            container.secrets.iter().map(|secret| Dependency::Secret(secret.secret_id.clone())),
        );
        wanted.extend(
            container.configs.iter().map(|config| Dependency::Config(config.config_id.clone())),
        );
    }
}

fn volume_assignment(volume: &Volume, status: &VolumePublishStatus) -> VolumeAssignment {
    let spec = volume.spec.clone().unwrap_or_default();
    let info = volume.volume_info.clone().unwrap_or_default();
    VolumeAssignment {
        id: volume.id.clone(),
        volume_id: info.volume_id,
        driver: spec.driver,
        volume_context: info.volume_context,
        publish_context: status.publish_context.clone(),
        access_mode: spec.access_mode,
        secrets: spec.secrets,
    }
}

fn update(item: Item) -> AssignmentChange {
    AssignmentChange {
        assignment: Some(Assignment { item: Some(item) }),
        action: AssignmentAction::Update as i32,
    }
}

fn remove(item: Item) -> AssignmentChange {
    AssignmentChange {
        assignment: Some(Assignment { item: Some(item) }),
        action: AssignmentAction::Remove as i32,
    }
}

#[cfg(test)]
mod tests;

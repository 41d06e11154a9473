//! Tasks: read and remove. They are made by the orchestrator alone.

use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{
    GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse, RemoveTaskRequest,
    RemoveTaskResponse, Service, Task, TaskSpec, list_tasks_request::Filters,
};
use swarm_store::{Error, Tables};

use super::selection::{contains, contains_number, contains_prefix, match_labels};
use super::{Control, not_found, required};
use crate::failure::Failure;

pub(super) fn get(control: &Control, request: GetTaskRequest) -> Result<GetTaskResponse, Failure> {
    let id = required(&request.task_id)?;
    let tables = control.store.view();
    let task = tables.get::<Task>(id).ok_or_else(|| not_found("task", id))?;
    Ok(GetTaskResponse { task: Some(Task::clone(task)) })
}

pub(super) fn list(
    control: &Control,
    request: ListTasksRequest,
) -> Result<ListTasksResponse, Failure> {
    let tables = control.store.view();
    let filters = request.filters.unwrap_or_default();
    let admit = |task: &&std::sync::Arc<Task>| admits(&tables, &filters, task);
    // The indexes spare a walk over all tasks in the two commonest cases.
    let tasks = if !filters.service_ids.is_empty() {
        let of_services = filters.service_ids.iter().flat_map(|id| tables.tasks_by_service(id));
        of_services.filter(admit).map(|task| Task::clone(task)).collect()
    } else if !filters.node_ids.is_empty() {
        let of_nodes = filters.node_ids.iter().flat_map(|id| tables.tasks_by_node(id));
        of_nodes.filter(admit).map(|task| Task::clone(task)).collect()
    } else {
        tables.iter::<Task>().filter(admit).map(|task| Task::clone(task)).collect()
    };
    Ok(ListTasksResponse { tasks })
}

pub(super) async fn remove(
    control: &Control,
    request: RemoveTaskRequest,
) -> Result<RemoveTaskResponse, Failure> {
    let id = required(&request.task_id)?;
    let removed = control.store.update(|transaction| transaction.delete::<Task>(id)).await;
    match removed {
        Err(Error::NotFound { .. }) => Err(not_found("task", id).into()),
        other => Ok(other.map(|()| RemoveTaskResponse {})?),
    }
}

fn admits(tables: &Tables, filters: &Filters, task: &Task) -> bool {
    let name = name(task);
    let labels = task.service_annotations.as_ref().map(|annotations| &annotations.labels);
    contains(&filters.names, &name)
        && contains_prefix(&filters.name_prefixes, &name)
        && contains_prefix(&filters.id_prefixes, &task.id)
        && match_labels(labels, &filters.labels)
        && contains(&filters.service_ids, &task.service_id)
        && contains(&filters.node_ids, &task.node_id)
        && is_of_runtime(task.spec.as_deref(), &filters.runtimes)
        && contains_number(&filters.desired_states, task.desired_state)
        && (!filters.up_to_date || is_up_to_date(tables, task))
}

/// The task's name: its own, or one made of service, slot (node, for a global service's task) and ID.
fn name(task: &Task) -> String {
    let own = task.annotations.as_ref().map_or("", |annotations| annotations.name.as_str());
    if !own.is_empty() {
        return own.to_owned();
    }
    let service = task.service_annotations.as_ref().map_or("", |annotations| &annotations.name);
    match task.slot {
        0 => format!("{service}.{}.{}", task.node_id, task.id),
        slot => format!("{service}.{slot}.{}", task.id),
    }
}

/// Whether a task spec's runtime is among the wanted ones.
pub(super) fn is_of_runtime(spec: Option<&TaskSpec>, wanted: &[String]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    match spec.and_then(|spec| spec.runtime.as_ref()) {
        Some(Runtime::Container(_)) => contains(wanted, "container"),
        Some(Runtime::Attachment(_)) => contains(wanted, "attachment"),
        Some(Runtime::Generic(generic)) => contains(wanted, &generic.kind.to_lowercase()),
        None => false,
    }
}

/// Whether the task is as its service wants it by now: of the same spec version, or of an equal spec.
fn is_up_to_date(tables: &Tables, task: &Task) -> bool {
    let Some(service) = tables.get::<Service>(&task.service_id) else { return false };
    if task.spec_version.is_some() && task.spec_version == service.spec_version {
        return true;
    }
    let Some(spec) = service.spec.as_ref() else { return false };
    let endpoint = task.endpoint.as_ref();
    spec.task == task.spec && endpoint.is_none_or(|endpoint| endpoint.spec == spec.endpoint)
}

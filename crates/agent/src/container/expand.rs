//! A task with the templates of its specification expanded for this node.
//!
//! Mirrors SwarmKit's `template.NewContext` and moby's `containerConfig.setTask`.

use swarm_proto::v1::Task;
use swarm_proto::v1::task_spec::Runtime;
use swarm_template::{Context, expand_container};

use super::spec::container_name;

/// What templates can say of the node beyond its ID.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) hostname: String,
    pub(crate) os: String,
    pub(crate) architecture: String,
}

/// Expands the task's environment, mounts and hostname.
///
/// # Errors
/// A text for the task's status.
pub(crate) fn expand(task: &mut Task, machine: &Machine) -> Result<(), String> {
    let context = context(task, machine);
    let Some(spec) = task.spec.as_mut() else { return Ok(()) };
    match spec.runtime.as_mut() {
        Some(Runtime::Container(container)) => {
            expand_container(container, &context).map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}

fn context(task: &Task, machine: &Machine) -> Context {
    let service = task.service_annotations.clone().unwrap_or_default();
    Context {
        service_id: task.service_id.clone(),
        service_name: service.name,
        service_labels: service.labels.into_iter().collect(),
        node_id: task.node_id.clone(),
        node_hostname: machine.hostname.clone(),
        os: machine.os.clone(),
        architecture: machine.architecture.clone(),
        task_id: task.id.clone(),
        task_name: container_name(task),
        task_slot: match task.slot {
            0 => task.node_id.clone(),
            slot => slot.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{Annotations, ContainerSpec, TaskSpec};

    use super::*;

    #[test]
    fn a_task_is_expanded_for_its_node() {
        let check = |slot: u64, text: &str, expect: Result<&str, &str>| {
            let container = ContainerSpec { hostname: text.into(), ..ContainerSpec::default() };
            let runtime = Some(Runtime::Container(container));
            let labels = [("tier".to_owned(), "front".to_owned())].into();
            let annotations = Annotations { name: "web".into(), labels, ..Annotations::default() };
            let mut task = Task {
                id: "t1".into(),
                service_id: "s1".into(),
                node_id: "n1".into(),
                slot,
                service_annotations: Some(annotations),
                spec: Some(TaskSpec { runtime, ..TaskSpec::default() }.into()),
                ..Task::default()
            };
            let machine =
                Machine { hostname: "worker".into(), os: "linux".into(), architecture: "x".into() };
            let expanded = expand(&mut task, &machine);
            let hostname = super::super::spec::container_spec(&task).map(|spec| &*spec.hostname);
            assert_eq!(
                expanded.map(|()| hostname.unwrap_or_default()),
                expect.map_err(str::to_owned)
            );
        };
        check(3, "{{.Node.Hostname}}-{{.Task.Slot}}", Ok("worker-3"));
        check(0, "{{.Task.Name}}.{{.Task.Slot}}", Ok("web.n1.t1.n1"));
        check(1, "{{.Service.Labels.tier}}", Ok("front"));
        check(
            1,
            "{{.Service.Labels.none}}",
            Err("expanding hostname failed: template: expansion:1:10: executing \"expansion\" at \
                 <.Service.Labels.none>: map has no entry for key \"none\""),
        );
    }
}

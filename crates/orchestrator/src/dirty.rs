//! Whether a task still is what its service asks for.
//!
//! Mirrors `IsTaskDirty` of SwarmKit's `manager/orchestrator/task.go`.

use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{Node, Placement, Service, Task, TaskSpec, TaskState};
use swarm_scheduler::constraint;

use crate::task::observed;

/// Whether `task`, on `node`, differs from what `service` asks for in a way that takes a new task.
pub(crate) fn is_dirty(service: &Service, task: &Task, node: Option<&Node>) -> bool {
    if service.spec_version.is_some() && service.spec_version == task.spec_version {
        return false;
    }
    let mut wanted = service.spec.as_ref().and_then(|spec| spec.task.clone()).unwrap_or_default();
    let actual = &task.spec.clone().unwrap_or_default();
    if only_placement_differs(&wanted, actual)
        && node.is_some_and(|node| suits(wanted.placement.as_ref(), node))
    {
        return false;
    }
    if has_pulled(task) {
        ignore_pull_options(&mut wanted, actual);
    }
    let wanted_endpoint = service.spec.as_ref().and_then(|spec| spec.endpoint.as_ref());
    wanted != *actual
        || task.endpoint.as_ref().is_some_and(|endpoint| endpoint.spec.as_ref() != wanted_endpoint)
}

/// Whether `node` meets the constraints of a placement. Malformed constraints were refused long before.
pub(crate) fn suits(placement: Option<&Placement>, node: &Node) -> bool {
    let constraints = placement.map_or(&[][..], |placement| &placement.constraints);
    constraint::parse(constraints).is_ok_and(|constraints| constraint::matches(&constraints, node))
}

/// What the tasks of a service ask of their nodes.
pub(crate) fn placement(service: &Service) -> Option<&Placement> {
    service.spec.as_ref()?.task.as_ref()?.placement.as_ref()
}

fn only_placement_differs(wanted: &TaskSpec, actual: &TaskSpec) -> bool {
    wanted.placement != actual.placement
        && TaskSpec { placement: actual.placement.clone(), ..wanted.clone() } == *actual
}

/// Whether the task has its image: then a change of the registry's credentials alone is no reason to replace it.
fn has_pulled(task: &Task) -> bool {
    task.desired_state <= TaskState::Running as i32
        && (TaskState::Ready as i32..=TaskState::Running as i32).contains(&observed(task))
}

fn ignore_pull_options(wanted: &mut TaskSpec, actual: &TaskSpec) {
    if let (Some(Runtime::Container(wanted)), Some(Runtime::Container(actual))) =
        (&mut wanted.runtime, &actual.runtime)
    {
        wanted.pull_options = actual.pull_options.clone();
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::container_spec::PullOptions;
    use swarm_proto::v1::{
        ContainerSpec, Endpoint, EndpointSpec, ServiceSpec, TaskStatus, Version,
    };

    use super::*;

    fn spec(image: &str, auth: &str, constraints: &[&str]) -> TaskSpec {
        let pull_options = Some(PullOptions { registry_auth: auth.into() });
        let container = ContainerSpec { image: image.into(), pull_options, ..Default::default() };
        let constraints = constraints.iter().map(|constraint| (*constraint).to_owned()).collect();
        TaskSpec {
            runtime: Some(Runtime::Container(container)),
            placement: Some(Placement { constraints, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn tells_what_takes_a_new_task() {
        let old = || spec("v1", "", &[]);
        for (case, wanted, version, state, expect) in [
            ("same version, whatever differs", spec("v2", "", &[]), 1, TaskState::Running, false),
            ("new version, same specification", old(), 2, TaskState::Running, false),
            ("new image", spec("v2", "", &[]), 2, TaskState::Running, true),
            (
                "new credentials while running",
                spec("v1", "secret", &[]),
                2,
                TaskState::Running,
                false,
            ),
            (
                "new credentials while pulling",
                spec("v1", "secret", &[]),
                2,
                TaskState::Preparing,
                true,
            ),
            (
                "constraint that the node meets",
                spec("v1", "", &["node.id==n"]),
                2,
                TaskState::Running,
                false,
            ),
            (
                "constraint that it does not meet",
                spec("v1", "", &["node.id!=n"]),
                2,
                TaskState::Running,
                true,
            ),
            ("constraint and image", spec("v2", "", &["node.id==n"]), 2, TaskState::Running, true),
        ] {
            let service = Service {
                spec: Some(ServiceSpec { task: Some(wanted.into()), ..Default::default() }),
                spec_version: Some(Version { index: version }),
                ..Default::default()
            };
            let task = Task {
                spec: Some(old().into()),
                spec_version: Some(Version { index: 1 }),
                desired_state: TaskState::Running as i32,
                status: Some(TaskStatus { state: state as i32, ..Default::default() }),
                ..Default::default()
            };
            let node = Node { id: "n".into(), ..Default::default() };
            assert_eq!(is_dirty(&service, &task, Some(&node)), expect, "{case}");
        }
    }

    #[test]
    fn a_new_endpoint_takes_a_new_task() {
        let service = Service {
            spec: Some(ServiceSpec {
                task: Some(TaskSpec::default().into()),
                endpoint: Some(EndpointSpec::default()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let task = Task {
            spec: Some(TaskSpec::default().into()),
            endpoint: Some(Endpoint::default()),
            ..Default::default()
        };
        assert!(is_dirty(&service, &task, None));
    }
}

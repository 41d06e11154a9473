//! Tasks that come out of the log or a snapshot share their specification with their service, as those do that were
//! made here: of a thousand replicas one holds it.

use swarm_proto::Shared;
use swarm_proto::v1::{Service, Task, TaskSpec};

use crate::tables::Tables;

impl Tables {
    /// The task, its specification replaced by an equal one that these tables hold, if any.
    pub(crate) fn sharing(&self, mut task: Task) -> Task {
        if let Some(own) = &mut task.spec
            && let Some(held) = self.held(&task.id, &task.service_id, own)
        {
            *own = held;
        }
        task
    }

    fn held(&self, task: &str, service: &str, wanted: &TaskSpec) -> Option<Shared<TaskSpec>> {
        let service = self.get::<Service>(service);
        let before = self.get::<Task>(task).and_then(|task| task.spec.as_ref());
        let newest = service.and_then(|service| service.spec.as_ref()?.task.as_ref());
        let previous = service.and_then(|service| service.previous_spec.as_ref()?.task.as_ref());
        [before, newest, previous].into_iter().flatten().find(|held| ***held == *wanted).cloned()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use swarm_proto::v1::ServiceSpec;

    use super::*;

    fn spec(force_update: u64) -> TaskSpec {
        TaskSpec { force_update, ..TaskSpec::default() }
    }

    fn task(id: &str, spec: TaskSpec) -> Task {
        let (id, service_id) = (id.into(), "s".into());
        Task { id, service_id, spec: Some(spec.into()), ..Task::default() }
    }

    #[test]
    fn what_is_read_from_a_snapshot_is_shared() {
        let service =
            |spec: TaskSpec| ServiceSpec { task: Some(spec.into()), ..Default::default() };
        let mut tables = Tables::default();
        let services = Service {
            id: "s".into(),
            spec: Some(service(spec(2))),
            previous_spec: Some(service(spec(1))),
            ..Service::default()
        };
        tables.create(services).expect("new");
        for (id, revision) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
            tables.create(task(id, spec(revision))).expect("new");
        }
        let bytes = tables.to_snapshot().encode_to_vec();
        let read =
            Tables::from_snapshot(prost::Message::decode(bytes.as_slice()).expect("decodes"));
        let service = read.get::<Service>("s").expect("there");
        let of = |id: &str| read.get::<Task>(id).and_then(|task| task.spec.clone()).expect("there");
        let newest = service.spec.as_ref().and_then(|spec| spec.task.clone()).expect("there");
        let previous = service.previous_spec.as_ref().and_then(|spec| spec.task.clone());
        assert!(Shared::is_same(&of("b"), &newest) && Shared::is_same(&of("c"), &newest));
        assert!(Shared::is_same(&of("a"), &previous.expect("there")));
        assert_eq!(*of("d"), spec(3));
        assert_eq!(read.to_snapshot(), tables.to_snapshot());
    }

    #[test]
    fn a_task_that_is_written_again_keeps_what_it_shares() {
        let mut tables = Tables::default();
        tables.create(task("a", spec(1))).expect("new");
        let before = tables.get::<Task>("a").and_then(|task| task.spec.clone()).expect("there");
        let after = tables.sharing(task("a", spec(1))).spec.expect("kept");
        assert!(Shared::is_same(&before, &after));
        assert_eq!(*tables.sharing(task("a", spec(2))).spec.expect("kept"), spec(2));
    }
}

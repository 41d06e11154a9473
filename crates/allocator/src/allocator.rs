//! The control loop: remembers which services and tasks changed, and plans what they are given.
//!
//! Services go before tasks, so that a task copies an endpoint that is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use swarm_proto::timestamp::from_system_time;
use swarm_proto::v1::{Endpoint, Service, Task, TaskState, TaskStatus};
use swarm_store::{Change, ControlLoop, PORTION, Tables, Write};

use crate::{attachment, endpoint};

const ALLOCATED: &str = "pending task scheduling";

/// The allocator's state: what it has not looked at since it changed.
#[derive(Debug, Default)]
pub struct Allocator {
    services: BTreeSet<String>,
    tasks: BTreeSet<String>,
    is_behind: bool,
}

impl ControlLoop for Allocator {
    fn name(&self) -> &'static str {
        "allocator"
    }

    fn resync(&mut self, _now: SystemTime, tables: &Tables) {
        self.services = tables.iter::<Service>().map(|service| service.id.clone()).collect();
        self.tasks = tables
            .iter::<Task>()
            .filter(|task| is_waiting(task))
            .map(|task| task.id.clone())
            .collect();
    }

    fn observe(&mut self, _now: SystemTime, _tables: &Tables, change: &Change) {
        match change {
            Change::Service(delta) => {
                self.services.extend(delta.new.iter().map(|service| service.id.clone()));
            }
            Change::Task(delta) => {
                self.tasks.extend(
                    delta.new.iter().filter(|task| is_waiting(task)).map(|task| task.id.clone()),
                );
            }
            _ => {}
        }
    }

    fn plan(&mut self, now: SystemTime, tables: &Tables) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut endpoints = BTreeMap::new();
        while writes.len() < PORTION
            && let Some(id) = self.services.pop_first()
        {
            let Some(service) = tables.get::<Service>(&id) else { continue };
            let wanted = endpoint::wanted(service);
            if wanted != service.endpoint {
                endpoints.insert(id, wanted.clone());
                writes.push(Write::UpdateService(Box::new(Service {
                    endpoint: wanted,
                    ..Service::clone(service)
                })));
            }
        }
        // Tasks after all services, whose endpoints they copy.
        while writes.len() < PORTION
            && let Some(id) = self.tasks.pop_first()
        {
            let Some(task) = tables.get::<Task>(&id).filter(|task| is_waiting(task)) else {
                continue;
            };
            let planned = endpoints.get(&task.service_id).cloned();
            let endpoint = planned.unwrap_or_else(|| service_endpoint(tables, task));
            writes.push(Write::UpdateTask(Box::new(allocate(now, tables, task, endpoint))));
        }
        self.is_behind = !self.services.is_empty() || !self.tasks.is_empty();
        writes
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn wakeup(&self) -> Option<SystemTime> {
        None
    }
}

/// Whether a task waits for the allocator: it is new, and still wanted.
fn is_waiting(task: &Task) -> bool {
    let state = task.status.as_ref().map_or(TaskState::New as i32, |status| status.state);
    state == TaskState::New as i32 && task.desired_state <= TaskState::Complete as i32
}

fn service_endpoint(tables: &Tables, task: &Task) -> Option<Endpoint> {
    tables.get::<Service>(&task.service_id)?.endpoint.clone()
}

fn allocate(now: SystemTime, tables: &Tables, task: &Task, endpoint: Option<Endpoint>) -> Task {
    Task {
        networks: attachment::wanted(tables, task),
        endpoint: endpoint.or_else(|| task.endpoint.clone()),
        status: Some(TaskStatus {
            state: TaskState::Pending as i32,
            message: ALLOCATED.to_owned(),
            timestamp: Some(from_system_time(now)),
            ..task.status.clone().unwrap_or_default()
        }),
        ..task.clone()
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::port_config::PublishMode;
    use swarm_proto::v1::{
        Annotations, EndpointSpec, Network, NetworkAttachmentConfig, NetworkSpec, PortConfig,
        ServiceSpec, TaskSpec,
    };

    use super::*;

    fn service(ports: Vec<PortConfig>) -> Service {
        let endpoint = EndpointSpec { ports, ..Default::default() };
        let annotations = Annotations { name: "web".into(), ..Default::default() };
        let spec = ServiceSpec {
            annotations: Some(annotations),
            endpoint: Some(endpoint),
            ..Default::default()
        };
        Service { id: "s".into(), spec: Some(spec), ..Default::default() }
    }

    fn port(mode: PublishMode) -> PortConfig {
        PortConfig {
            target_port: 80,
            published_port: 8080,
            publish_mode: mode as i32,
            ..Default::default()
        }
    }

    fn task(id: &str, desired: TaskState) -> Task {
        let network = NetworkAttachmentConfig { target: "host".into(), ..Default::default() };
        Task {
            id: id.into(),
            service_id: "s".into(),
            desired_state: desired as i32,
            spec: Some(TaskSpec { networks: vec![network], ..Default::default() }.into()),
            ..Default::default()
        }
    }

    fn network() -> Network {
        let annotations = Annotations { name: "host".into(), ..Default::default() };
        let spec = NetworkSpec { annotations: Some(annotations), ..Default::default() };
        Network { id: "n".into(), spec: Some(spec), ..Default::default() }
    }

    fn apply(tables: &mut Tables, allocator: &mut Allocator, writes: Vec<Write>) {
        for write in writes {
            let change = match write {
                Write::UpdateService(service) => tables.update(*service),
                Write::UpdateTask(task) => tables.update(*task),
                other => panic!("the allocator never plans {other:?}"),
            };
            allocator.observe(SystemTime::UNIX_EPOCH, tables, &change.expect("the write applies"));
        }
    }

    #[test]
    fn allocates_services_before_their_tasks() {
        let now = SystemTime::UNIX_EPOCH;
        let mut tables = Tables::default();
        let ports = vec![port(PublishMode::Host), port(PublishMode::Ingress)];
        tables.create(network()).expect("new");
        tables.create(service(ports)).expect("new");
        tables.create(task("wanted", TaskState::Ready)).expect("new");
        tables.create(task("unwanted", TaskState::Remove)).expect("new");

        let mut allocator = Allocator::default();
        allocator.resync(now, &tables);
        let writes = allocator.plan(now, &tables);
        apply(&mut tables, &mut allocator, writes);
        assert_eq!(allocator.plan(now, &tables), [], "a plan applied twice changes nothing");

        let task = tables.get::<Task>("wanted").expect("exists");
        let status = task.status.clone().expect("set");
        assert_eq!(
            (status.state, status.message.as_str()),
            (TaskState::Pending as i32, "pending task scheduling")
        );
        let ports: Vec<_> =
            task.endpoint.iter().flat_map(|endpoint| endpoint.ports.clone()).collect();
        assert_eq!(ports, [port(PublishMode::Host)]);
        let network = task.networks.first().and_then(|attachment| attachment.network.as_ref());
        assert_eq!(network.map(|network| network.id.as_str()), Some("n"));
        assert_eq!(tables.get::<Task>("unwanted").and_then(|task| task.status.clone()), None);
    }
}

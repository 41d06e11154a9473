//! Start-first where the new task has no room beside the old one: then the old one has to stop first.
//!
//! A port of the node, or so many tasks a node, may be all that there is. SwarmKit's update waits for ever then.

use std::collections::BTreeSet;
use std::sync::Arc;

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::{Node, Service, Task, TaskState};
use swarm_scheduler::reason::{self, Conflict};
use swarm_store::Tables;

use crate::delay::is_on_its_way_out;
use crate::dirty::{placement, suits};
use crate::task::{availability, is_invalid, is_stopped, observed};

/// Why `new` finds no node, if it would find one once the `others` of its slot are gone.
pub(super) fn held_by_others(
    tables: &Tables,
    service: &Service,
    new: &Task,
    others: &[Arc<Task>],
) -> Option<Conflict> {
    let status = new.status.as_ref()?;
    if observed(new) != TaskState::Pending as i32 || status.err.is_empty() {
        return None;
    }
    let conflicts = reason::conflicts(&status.err);
    let ports = host_ports(new);
    let holders = others.iter().filter(|other| !is_stopped(other));
    let could_leave: Vec<_> = holders.filter(|other| suits_node(tables, service, other)).collect();
    conflicts.into_iter().find(|conflict| {
        could_leave.iter().any(|other| match conflict {
            Conflict::HostPort => !ports.is_disjoint(&host_ports(other)),
            Conflict::MaxReplicas | Conflict::OwnService => true,
        })
    })
}

/// Whether something of the service is about to leave its place, which may be room enough.
pub(super) fn is_in_motion(tables: &Tables, service_id: &str) -> bool {
    tables.tasks_by_service(service_id).any(|task| is_on_its_way_out(tables, task))
}

fn suits_node(tables: &Tables, service: &Service, task: &Task) -> bool {
    tables.get::<Node>(&task.node_id).is_some_and(|node| {
        !is_invalid(node)
            && availability(node) == Availability::Active
            && suits(placement(service), node)
    })
}

fn host_ports(task: &Task) -> BTreeSet<(i32, u32)> {
    let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    ports
        .filter(|port| port.publish_mode == PublishMode::Host as i32 && port.published_port != 0)
        .map(|port| (port.protocol, port.published_port))
        .collect()
}

//! Tasks on a node that is down, of services that let them be for a while (`swarm.hold`): for so long they are taken
//! to be alive, as they are where only the network is gone, and nothing takes their place.
//!
//! ```text
//!  node down ──► held ──(node is back)────────────────────► goes on; nothing happened
//!                  └──(time over, drained or removed, label lowered)──► replaced, as without a hold
//! ```
//!
//! When the node went down stands in its status, so the next leader comes to the same instant. A task that had not
//! begun to start has nothing to be kept, and is replaced at once. What an update asks for is not held up: it replaces
//! tasks that are held, too. SwarmKit has no such thing.

use std::time::SystemTime;

use swarm_proto::timestamp::to_system_time;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::{Node, Service, Task, TaskState};
use swarm_store::Tables;

use crate::options::loss::hold;
use crate::task::{availability, is_down, observed};

/// Until when a task that lost its node is taken to be alive; none where it is not.
pub(crate) fn until(
    now: SystemTime,
    tables: &Tables,
    service: &Service,
    task: &Task,
) -> Option<SystemTime> {
    let hold = hold(service.spec.as_ref());
    let may_run = TaskState::Starting as i32..=TaskState::Running as i32;
    if hold.is_zero() || !may_run.contains(&observed(task)) {
        return None;
    }
    let node = tables.get::<Node>(&task.node_id)?;
    if !is_down(node) || availability(node) == Availability::Drain {
        return None;
    }
    // The clock of the leader then may have been ahead of this one's.
    let until = down_since(node).map_or(now, |since| since.min(now)) + hold;
    (until > now).then_some(until)
}

/// Whether an update of a service makes its hold shorter: what is held by the longer one is looked at again.
pub(crate) fn is_shorter(old: &Service, new: &Service) -> bool {
    hold(new.spec.as_ref()) < hold(old.spec.as_ref())
}

/// When a node went down. A stock manager does not note it, but nothing writes down nodes often.
fn down_since(node: &Node) -> Option<SystemTime> {
    let noted = node.status.as_ref().and_then(|status| status.down_since.as_ref());
    let written = node.meta.as_ref().and_then(|meta| meta.updated_at.as_ref());
    noted.or(written).map(to_system_time)
}

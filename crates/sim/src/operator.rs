//! The operator: founds the cluster, and wants now these and now those machines to be managers.

use std::collections::BTreeSet;
use std::time::Duration;

use swarm_ca::Role;
use swarm_proto::v1::{Annotations, Cluster, ClusterSpec, Node, NodeSpec};
use swarm_store::{DEFAULT_CLUSTER_NAME, Error, Transaction};

use crate::authority::{CLUSTER, founder};
use crate::random::Random;
use crate::seat::{node_id, set_role};
use crate::world::{Event, World};

/// The machine that founds the cluster.
pub(crate) const FOUNDER: u64 = 1;
/// Fewer managers than this are never wanted.
const MANAGERS_MIN: usize = 3;
/// More neither.
const MANAGERS_MAX: usize = 6;
/// Machines that are ever used for managers.
const MACHINES_MAX: u64 = 8;
/// How often the operator looks.
const PERIOD: Duration = Duration::from_millis(500);

/// What the operator wants.
#[derive(Debug)]
pub(crate) struct Operator {
    nodes: Vec<String>,
    wanted: BTreeSet<u64>,
    last: u64,
    is_founded: bool,
}

impl Operator {
    pub(crate) fn new(nodes: Vec<String>, managers: u64) -> Self {
        Self { nodes, wanted: (1..=managers).collect(), last: managers, is_founded: false }
    }

    /// The machines that are to be managers.
    pub(crate) fn wanted(&self) -> &BTreeSet<u64> {
        &self.wanted
    }

    /// Wants another manager: a new machine, or one that was demoted.
    pub(crate) fn grow(&mut self, random: &mut Random) {
        if self.wanted.len() >= MANAGERS_MAX {
            return;
        }
        let demoted: Vec<u64> = (1..=self.last).filter(|id| !self.wanted.contains(id)).collect();
        match random.pick(&demoted) {
            Some(id) if self.last >= MACHINES_MAX || random.chance(500) => {
                self.wanted.insert(id);
            }
            _ => {
                self.last += 1;
                self.wanted.insert(self.last);
            }
        }
    }

    /// Wants a manager demoted.
    pub(crate) fn shrink(&mut self, id: u64) {
        if self.wanted.len() > MANAGERS_MIN {
            self.wanted.remove(&id);
        }
    }
}

impl World {
    /// Looks at the leader, and asks for what is still missing.
    pub(crate) fn operate(&mut self) {
        self.after(PERIOD, Event::Operator);
        let Some(leader) = self.leader() else { return };
        if !self.operator.is_founded {
            self.found(leader);
        }
        let wanted = self.operator.wanted.clone();
        for id in &wanted {
            if !self.managers.contains_key(id) {
                // Half of them join as workers, and are promoted.
                let is_manager = self.env.random.chance(500);
                self.add_machine(*id, if is_manager { Role::Manager } else { Role::Worker });
            }
        }
        let now = self.env.now;
        let Some(machine) = self.managers.get(&leader) else { return };
        crate::clock::set(now, machine.ahead_ms);
        let machines: Vec<u64> = self.managers.keys().copied().collect();
        let Some(process) = self.process(leader) else { return };
        for id in machines {
            let role = if wanted.contains(&id) { Role::Manager } else { Role::Worker };
            // What was refused, or could not be written, is asked for again.
            let _ = set_role(process, now, id, role);
        }
        self.turn(leader, false);
    }

    fn found(&mut self, leader: u64) {
        let nodes = self.operator.nodes.clone();
        crate::clock::set(self.env.now, 0);
        let Some(machine) = self.managers.get_mut(&leader) else { return };
        if let Some(process) = &mut machine.process {
            process.request(&mut self.env, 0, |transaction| found(transaction, &nodes));
            self.operator.is_founded = true;
            self.turn(leader, false);
        }
    }
}

/// The cluster and its nodes, as `swarm_manager` and its certificate authority make them.
fn found(transaction: &mut Transaction<'_>, nodes: &[String]) -> Result<(), Error> {
    if transaction.cluster().is_some() {
        return Ok(());
    }
    let name = DEFAULT_CLUSTER_NAME.to_owned();
    let annotations = Some(Annotations { name, ..Annotations::default() });
    let spec = Some(ClusterSpec { annotations, ..ClusterSpec::default() });
    transaction.create(Cluster { id: CLUSTER.to_owned(), spec, ..Cluster::default() })?;
    transaction.create(founder(&node_id(FOUNDER)))?;
    nodes.iter().try_for_each(|id| {
        let spec = Some(NodeSpec::default());
        transaction.create(Node { id: id.clone(), spec, ..Node::default() })
    })
}

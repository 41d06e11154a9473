//! The operator: founds the cluster, and adds and removes managers, one at a time, until it has come about.

use std::collections::BTreeSet;
use std::time::Duration;

use swarm_proto::v1::{Annotations, Cluster, ClusterSpec, Node, NodeSpec};
use swarm_raft::{MemberChange, Status};
use swarm_store::{DEFAULT_CLUSTER_NAME, Error, Transaction};

use crate::manager::context;
use crate::world::{Event, World};

/// Fewer managers than this are never wanted.
const MANAGERS_MIN: usize = 3;
/// More neither.
const MANAGERS_MAX: usize = 6;
/// How often the operator looks.
const PERIOD: Duration = Duration::from_millis(500);

/// What the operator wants.
#[derive(Debug)]
pub(crate) struct Operator {
    nodes: Vec<String>,
    wanted: BTreeSet<u64>,
    removed: BTreeSet<u64>,
    last: u64,
    is_founded: bool,
}

impl Operator {
    pub(crate) fn new(nodes: Vec<String>, managers: u64) -> Self {
        let wanted = (1..=managers).collect();
        Self { nodes, wanted, removed: BTreeSet::new(), last: managers, is_founded: false }
    }

    pub(crate) fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    pub(crate) fn wanted(&self) -> &BTreeSet<u64> {
        &self.wanted
    }

    /// Wants another manager.
    pub(crate) fn grow(&mut self) {
        if self.wanted.len() < MANAGERS_MAX {
            self.last += 1;
            self.wanted.insert(self.last);
        }
    }

    /// Wants a manager gone; not the founder, whose configuration would found a group anew.
    pub(crate) fn shrink(&mut self, id: u64) {
        if self.wanted.len() > MANAGERS_MIN && id != 1 {
            self.wanted.remove(&id);
        }
    }

    /// The next change of a group of these voters.
    fn next(&self, status: &Status) -> Option<MemberChange> {
        let voters: BTreeSet<u64> = status.voters.iter().copied().collect();
        let added = self.wanted.difference(&voters).next();
        let removed = voters.difference(&self.wanted).next();
        let add = added.map(|id| MemberChange::Added { id: *id, context: context(*id) });
        add.or_else(|| removed.map(|id| MemberChange::Removed { id: *id }))
    }
}

impl World {
    /// Looks at the leader, and asks for what is still missing.
    pub(crate) fn operate(&mut self) {
        self.after(PERIOD, Event::Operator);
        let Some(leader) = self.leader() else { return };
        let Some(status) = self.process(leader).map(|process| process.status()) else { return };
        if !self.operator.is_founded {
            self.found(leader);
        }
        self.retire(&status);
        let Some(change) = self.operator.next(&status) else { return };
        if let MemberChange::Added { id, .. } = &change
            && !self.managers.contains_key(id)
        {
            self.add_manager(*id);
        }
        self.env.note(format_args!("operator asks manager {leader}: {}", describe(&change)));
        if let Some(process) = self.process(leader) {
            process.change(change);
            self.turn(leader, false);
        }
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

    /// Managers that are no longer voters are switched off for good.
    fn retire(&mut self, status: &Status) {
        let gone: Vec<u64> = self
            .managers
            .keys()
            .filter(|id| !self.operator.wanted.contains(id) && !status.voters.contains(id))
            .copied()
            .collect();
        for id in gone {
            self.env.note(format_args!("manager {id} is retired"));
            self.operator.removed.insert(id);
            self.break_conns(crate::net::Place::Manager(id), false);
            self.managers.remove(&id);
        }
    }
}

fn describe(change: &MemberChange) -> String {
    match change {
        MemberChange::Added { id, .. } => format!("add {id}"),
        MemberChange::Removed { id } => format!("remove {id}"),
        other => format!("{other:?}"),
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
    transaction.create(Cluster { id: "cluster".into(), spec, ..Cluster::default() })?;
    nodes.iter().try_for_each(|id| {
        let spec = Some(NodeSpec::default());
        transaction.create(Node { id: id.clone(), spec, ..Node::default() })
    })
}

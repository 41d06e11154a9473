//! The choice among nodes that fit: spread the tasks of a service evenly.
//!
//! Placement preferences divide the nodes into a tree by their labels' values; each task goes down into the branch that
//! has the fewest of the service's tasks, and at the leaf to the least loaded node. A heap per leaf makes a choice
//! cost the logarithm of the number of nodes. The outcome is that of SwarmKit's `scheduleNTasksOnSubtree`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::SystemTime;

use crate::constraint::Label;
use crate::demand::Demand;
use crate::filter;
use crate::node::NodeInfo;

/// The nodes that fit one demand, and how loaded they are.
pub(crate) struct Spread<'a> {
    now: SystemTime,
    demand: &'a Demand,
    nodes: Vec<&'a mut NodeInfo>,
    root: Branch,
}

#[derive(Default)]
struct Branch {
    /// Tasks of the service on all nodes of the branch, whether they fit or not.
    tasks: u64,
    /// Deeper branches by their label's value; empty at a leaf.
    next: BTreeMap<String, Branch>,
    /// At a leaf, its nodes that fit, the least loaded on top.
    heap: BinaryHeap<Reverse<Rank>>,
}

/// How little a node should be chosen, most telling first; the last field is the node's place in the list, which
/// makes the order total and fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    failures: usize,
    active_of_service: u64,
    active: u64,
    index: usize,
}

impl<'a> Spread<'a> {
    pub(crate) fn new(
        now: SystemTime,
        demand: &'a Demand,
        nodes: impl Iterator<Item = &'a mut NodeInfo>,
    ) -> Self {
        let mut spread = Self { now, demand, nodes: Vec::new(), root: Branch::default() };
        for node in nodes {
            let fits = filter::check(demand, node).is_ok();
            // Without preferences, nodes that do not fit have no say in anything.
            if fits || !demand.spread.is_empty() {
                spread.insert(node, fits);
            }
        }
        spread
    }

    fn insert(&mut self, node: &'a mut NodeInfo, fits: bool) {
        let index = self.nodes.len();
        let rank = rank(self.now, self.demand, node, index);
        let mut branch = &mut self.root;
        branch.tasks += rank.active_of_service;
        for label in &self.demand.spread {
            branch = branch.next.entry(Label::value(label, &node.node).to_owned()).or_default();
            branch.tasks += rank.active_of_service;
        }
        if fits {
            branch.heap.push(Reverse(rank));
        }
        self.nodes.push(node);
    }

    /// Lets `place` put one task on the best node; none when no node has room any more.
    pub(crate) fn place_one<R>(&mut self, place: impl FnOnce(&mut NodeInfo) -> R) -> Option<R> {
        let Reverse(chosen) = self.root.pop()?;
        let node = self.nodes.get_mut(chosen.index)?;
        let placed = place(node);
        if filter::check_again(self.demand, node) {
            let rank = rank(self.now, self.demand, node, chosen.index);
            let mut branch = &mut self.root;
            for label in &self.demand.spread {
                branch = branch.next.entry(Label::value(label, &node.node).to_owned()).or_default();
            }
            branch.heap.push(Reverse(rank));
        }
        Some(placed)
    }
}

impl Branch {
    /// Takes the best node out and counts one more task on the way to it.
    fn pop(&mut self) -> Option<Reverse<Rank>> {
        let chosen = if self.next.is_empty() {
            self.heap.pop()
        } else {
            let open = self.next.values_mut().filter(|branch| branch.has_room());
            open.min_by_key(|branch| branch.tasks).and_then(Self::pop)
        };
        self.tasks += u64::from(chosen.is_some());
        chosen
    }

    fn has_room(&self) -> bool {
        !self.heap.is_empty() || self.next.values().any(Self::has_room)
    }
}

fn rank(now: SystemTime, demand: &Demand, node: &NodeInfo, index: usize) -> Rank {
    Rank {
        failures: node.failures.weight(now, &demand.service),
        active_of_service: node.active_of(&demand.service.service_id),
        active: node.active,
        index,
    }
}

//! The choice among nodes that fit: spread the tasks of a service evenly.
//!
//! Placement preferences divide the nodes into a tree by their labels' values; each task goes down into the branch that
//! has the fewest of the service's tasks, and at the leaf to the least loaded node. A heap per leaf makes a choice
//! cost the logarithm of the number of nodes. The outcome is that of SwarmKit's `scheduleNTasksOnSubtree`.
//!
//! Without preferences there is one leaf, whose nodes come to its heap as they are needed: those that have tasks of the
//! service at once, all others in the order of their load, which is kept ready. So a service of three tasks costs a look
//! at three nodes that fit, not at a hundred thousand. One that must be beside another is looked for where that other is.
//! What a service would rather have beside it, or not, comes before its spread, within a branch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::SystemTime;

use crate::constraint::Label;
use crate::demand::Demand;
use crate::filter;
use crate::neighbours::Around;
use crate::node::NodeInfo;
use crate::nodes::{Nodes, Place};

/// The nodes that fit one demand, and how loaded they are.
pub(crate) struct Spread<'a> {
    now: SystemTime,
    demand: &'a Demand,
    around: &'a Around,
    root: Branch,
    untried: Untried,
    checks: usize,
}

/// The nodes that were not looked at yet.
enum Untried {
    /// None is left.
    None,
    /// Those after this one in the order of load.
    ByLoad(Option<(u64, Place)>),
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

/// How little a node should be chosen, most telling first; the place makes the order total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    failures: usize,
    /// Preferences that are not met.
    unmet: usize,
    active_of_service: u64,
    active: u64,
    place: Place,
}

impl<'a> Spread<'a> {
    pub(crate) fn new(
        now: SystemTime,
        demand: &'a Demand,
        around: &'a Around,
        nodes: &mut Nodes,
    ) -> Self {
        let root = Branch::default();
        let mut spread = Self { now, demand, around, root, untried: Untried::None, checks: 0 };
        if demand.spread.is_empty()
            && let Some(places) = around.candidates(nodes)
        {
            for (place, info) in
                places.into_iter().filter_map(|place| Some((place, nodes.at(place)?)))
            {
                spread.try_node(place, info);
            }
        } else if demand.spread.is_empty() && !around.has_preferences() {
            nodes.sort_for(demand);
            for place in nodes.with_service(&demand.service.service_id) {
                if let Some(info) = nodes.at(place) {
                    spread.try_node(place, info);
                }
            }
            spread.untried = Untried::ByLoad(None);
        } else {
            for (place, info) in nodes.iter() {
                spread.try_node(place, info);
            }
        }
        spread
    }

    /// How many nodes were looked at so far.
    pub(crate) fn checks(&self) -> usize {
        self.checks
    }

    /// The best node for one more task, which is counted in its branch; none when no node has room any more.
    /// [`Spread::put_back`] lets it be chosen again.
    pub(crate) fn take(&mut self, nodes: &Nodes) -> Option<Place> {
        if let Some(fresh) = self.next_untried(nodes) {
            return Some(fresh);
        }
        self.root.pop().map(|Reverse(rank)| rank.place)
    }

    /// The node has got its task; it goes on being a choice where it has room for another.
    pub(crate) fn put_back(&mut self, place: Place, nodes: &Nodes) {
        if let Some(info) = nodes.at(place)
            && filter::check_again(self.demand, self.around, info)
        {
            let rank = self.rank(place, info);
            self.leaf(info, 0).heap.push(Reverse(rank));
        }
    }

    /// The next node in the order of load that has no task of the service, no failures, and room: there is no better
    /// one.
    fn next_untried(&mut self, nodes: &Nodes) -> Option<Place> {
        while let Untried::ByLoad(last) = self.untried {
            let Some(next) = nodes.next_by_load(self.demand, last) else {
                self.untried = Untried::None;
                break;
            };
            self.untried = Untried::ByLoad(Some(next));
            let (_, place) = next;
            // One that got a task meanwhile comes by again, with more load.
            if nodes.has_service(&self.demand.service.service_id, place) {
                continue;
            }
            let Some(info) = nodes.at(place) else { continue };
            if info.failures.weight(self.now, &self.demand.service) > 0 {
                self.try_node(place, info);
                continue;
            }
            self.checks += 1;
            if filter::check_again(self.demand, self.around, info) {
                return Some(place);
            }
        }
        None
    }

    fn try_node(&mut self, place: Place, info: &NodeInfo) {
        self.checks += 1;
        let fits = filter::check(self.demand, self.around, info).is_ok();
        // Without preferences, nodes that do not fit have no say in anything.
        if fits || !self.demand.spread.is_empty() {
            let rank = self.rank(place, info);
            let leaf = self.leaf(info, rank.active_of_service);
            if fits {
                leaf.heap.push(Reverse(rank));
            }
        }
    }

    /// The leaf where a node belongs; so many tasks are added on the way to it.
    fn leaf(&mut self, info: &NodeInfo, tasks: u64) -> &mut Branch {
        let mut branch = &mut self.root;
        branch.tasks += tasks;
        for label in &self.demand.spread {
            branch = branch.next.entry(Label::value(label, &info.node).to_owned()).or_default();
            branch.tasks += tasks;
        }
        branch
    }

    fn rank(&self, place: Place, info: &NodeInfo) -> Rank {
        Rank {
            failures: info.failures.weight(self.now, &self.demand.service),
            unmet: self.around.unmet(info),
            active_of_service: info.active_of(&self.demand.service.service_id),
            active: info.active,
            place,
        }
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

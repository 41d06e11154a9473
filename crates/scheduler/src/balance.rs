//! Whether a service would be spread more evenly with one of its tasks on another node.
//!
//! The judgment is the scheduler's own: nodes fit by its filters, and are chosen in its order, the preferences' branches
//! first and then the nodes of a branch. Only what is better by two is better at all: each step makes the spread more
//! even, so that there is a last one, and two looks never undo each other's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use swarm_proto::v1::{Node, Task};
use swarm_store::Tables;

use crate::constraint::Label;
use crate::demand::Demand;
use crate::failures::Failures;
use crate::filter;
use crate::neighbours::{Around, Neighbours};
use crate::node::{NodeInfo, is_active, is_placed, observed};
use crate::nodes::Nodes;

/// What is known of a node that has a say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stand {
    /// Tasks of the service that are to stay here.
    pub tasks: u64,
    /// Whether one of them can leave.
    pub may_leave: bool,
    /// Whether another may come, if the node has room.
    pub may_come: bool,
}

/// From one node to another, by their identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// Where a task leaves.
    pub from: String,
    /// Where it comes to.
    pub to: String,
}

/// The next step towards an even spread of the tasks that are like `sample`; none if there is none that makes it more
/// even. What is known of each node comes from `stand`.
pub fn next_shift(
    tables: &Tables,
    sample: &Task,
    mut stand: impl FnMut(&Node) -> Stand,
) -> Option<Shift> {
    let demand = Demand::new(sample);
    // Whom it wants beside it, or not, decides where it is, not how even that is.
    if !demand.affinity.is_empty() {
        return None;
    }
    let around = Neighbours::new(tables).around(tables, &Nodes::default(), &demand);
    let mut root = Branch::default();
    for node in tables.iter::<Node>() {
        root.insert(&demand.spread, node, stand(node));
    }
    let mut rooms = Rooms { tables, demand: &demand, around: &around, known: HashMap::new() };
    root.shift(&mut rooms)
}

/// Which nodes have room for one more, as far as was asked.
struct Rooms<'a> {
    tables: &'a Tables,
    demand: &'a Demand,
    around: &'a Around,
    known: HashMap<String, bool>,
}

impl Rooms<'_> {
    fn has_room(&mut self, node: &Arc<Node>) -> bool {
        if let Some(known) = self.known.get(&node.id) {
            return *known;
        }
        let mut info = NodeInfo::new(node.clone(), Failures::default());
        let tasks = self.tables.tasks_by_node(&node.id);
        tasks.filter(|task| takes_room(task)).for_each(|task| info.put(task.clone()));
        let has_room = filter::check(self.demand, self.around, &info).is_ok();
        self.known.insert(node.id.clone(), has_room);
        has_room
    }
}

/// Whether a task has room on its node, or is about to ask for it.
fn takes_room(task: &Task) -> bool {
    let is_coming = is_active(task) && observed(task) < swarm_proto::v1::TaskState::Assigned as i32;
    is_placed(task) || is_coming
}

/// Nodes with the same values of the labels that preferences name; a leaf holds them.
#[derive(Default)]
struct Branch<'a> {
    tasks: u64,
    next: BTreeMap<&'a str, Branch<'a>>,
    nodes: Vec<(&'a Arc<Node>, Stand)>,
}

impl<'a> Branch<'a> {
    fn insert(&mut self, labels: &[Label], node: &'a Arc<Node>, stand: Stand) {
        self.tasks += stand.tasks;
        match labels.split_first() {
            None => self.nodes.push((node, stand)),
            Some((label, deeper)) => {
                self.next.entry(label.value(node)).or_default().insert(deeper, node, stand);
            }
        }
    }

    /// The best step in this branch, those between its own branches first.
    fn shift(&self, rooms: &mut Rooms<'_>) -> Option<Shift> {
        if self.next.is_empty() {
            let (from, heavy) = self.heaviest()?;
            let to = self.lightest(rooms, heavy)?;
            return Some(Shift { from: from.id.clone(), to: to.id.clone() });
        }
        self.shift_between(rooms)
            .or_else(|| self.next.values().find_map(|branch| branch.shift(rooms)))
    }

    fn shift_between(&self, rooms: &mut Rooms<'_>) -> Option<Shift> {
        let sources = self.next.values().filter(|branch| branch.heaviest().is_some());
        let heavy = sources.max_by_key(|branch| branch.tasks)?;
        let mut light: Vec<_> =
            self.next.values().filter(|branch| branch.tasks + 2 <= heavy.tasks).collect();
        light.sort_by_key(|branch| branch.tasks);
        let (from, _) = heavy.heaviest()?;
        let to = light.into_iter().find_map(|branch| branch.lightest(rooms, u64::MAX))?;
        Some(Shift { from: from.id.clone(), to: to.id.clone() })
    }

    /// The node that a task leaves first, and how many it has.
    fn heaviest(&self) -> Option<(&'a Arc<Node>, u64)> {
        if self.next.is_empty() {
            let sources = self.nodes.iter().filter(|(_, stand)| stand.may_leave);
            let heaviest = sources.max_by_key(|(node, stand)| (stand.tasks, Reverse(&node.id)));
            return heaviest.map(|(node, stand)| (*node, stand.tasks));
        }
        let mut branches: Vec<_> = self.next.values().collect();
        branches.sort_by_key(|branch| Reverse(branch.tasks));
        branches.into_iter().find_map(Self::heaviest)
    }

    /// The node that a task comes to first, of those with room that have fewer than `heavy` by two at least.
    fn lightest(&self, rooms: &mut Rooms<'_>, heavy: u64) -> Option<&'a Arc<Node>> {
        if self.next.is_empty() {
            let is_better =
                |stand: &Stand| stand.may_come && stand.tasks.saturating_add(2) <= heavy;
            let mut open: Vec<_> =
                self.nodes.iter().filter(|(_, stand)| is_better(stand)).collect();
            open.sort_by_key(|(node, stand)| (stand.tasks, &node.id));
            return open.into_iter().map(|(node, _)| *node).find(|node| rooms.has_room(node));
        }
        let mut branches: Vec<_> = self.next.values().collect();
        branches.sort_by_key(|branch| branch.tasks);
        branches.into_iter().find_map(|branch| branch.lightest(rooms, heavy))
    }
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::placement_preference::Preference;
    use swarm_proto::v1::{
        Annotations, NodeSpec, NodeStatus, Placement, PlacementPreference, SpreadOver, TaskSpec,
        TaskState, TaskStatus, node_status,
    };

    use super::*;

    /// Nodes `zone number`: so many tasks on each, in the order of their names.
    fn tables(nodes: &[(&str, u64)], spread: Option<&str>, max_replicas: u64) -> (Tables, Task) {
        let mut tables = Tables::default();
        let over = |label: &str| SpreadOver { spread_descriptor: label.into() };
        let preferences = spread
            .map(|label| PlacementPreference { preference: Some(Preference::Spread(over(label))) });
        let preferences = preferences.into_iter().collect();
        let placement = Placement { preferences, max_replicas, ..Placement::default() };
        let spec = TaskSpec { placement: Some(placement), ..TaskSpec::default() };
        let sample = Task {
            service_id: "s".into(),
            spec: Some(spec.into()),
            desired_state: TaskState::Running as i32,
            status: Some(TaskStatus { state: TaskState::Running as i32, ..Default::default() }),
            ..Task::default()
        };
        for (name, tasks) in nodes {
            let zone = name.split(' ').next().unwrap_or_default();
            let labels = [("zone".to_owned(), zone.to_owned())].into();
            let annotations = Some(Annotations { labels, ..Annotations::default() });
            let state = node_status::State::Ready as i32;
            let node = Node {
                id: (*name).into(),
                spec: Some(NodeSpec { annotations, ..NodeSpec::default() }),
                status: Some(NodeStatus { state, ..NodeStatus::default() }),
                ..Node::default()
            };
            tables.create(node).expect("new");
            for number in 0..*tasks {
                let id = format!("{name} {number}");
                let task = Task { id, node_id: (*name).into(), ..sample.clone() };
                tables.create(task).expect("new");
            }
        }
        (tables, sample)
    }

    /// Goes on until nothing is better, and counts the steps.
    fn settle(tables: &mut Tables, sample: &Task) -> (Vec<u64>, usize) {
        let mut steps = 0;
        loop {
            let counts: BTreeMap<String, u64> = tables
                .iter::<Node>()
                .map(|node| (node.id.clone(), tables.tasks_by_node(&node.id).count() as u64))
                .collect();
            let stand = |node: &Node| Stand {
                tasks: counts[&node.id],
                may_leave: counts[&node.id] > 0,
                may_come: true,
            };
            let Some(Shift { from, to }) = next_shift(tables, sample, stand) else {
                return (counts.into_values().collect(), steps);
            };
            steps += 1;
            let task = tables.tasks_by_node(&from).next().expect("one may leave").clone();
            tables.update(Task { node_id: to, ..Task::clone(&task) }).expect("exists");
        }
    }

    #[test]
    fn steps_lead_to_the_spread_that_the_scheduler_makes() {
        let zone = Some("node.labels.zone");
        for (nodes, spread, max_replicas, expect, steps) in [
            (&[("a 1", 0), ("a 2", 0)][..], None, 0, vec![0, 0], 0),
            (&[("a 1", 1), ("a 2", 0)], None, 0, vec![1, 0], 0),
            (&[("a 1", 2), ("a 2", 0)], None, 0, vec![1, 1], 1),
            (&[("a 1", 9), ("a 2", 0), ("a 3", 0)], None, 0, vec![3, 3, 3], 6),
            (&[("a 1", 4), ("a 2", 3), ("a 3", 0)], None, 0, vec![2, 3, 2], 2),
            // A limit of tasks a node is no reason to move, but one not to.
            (&[("a 1", 5), ("a 2", 0), ("a 3", 0)], None, 1, vec![3, 1, 1], 2),
            // Zones first, then the nodes of each.
            (&[("a 1", 0), ("b 1", 2), ("b 2", 2), ("b 3", 2)], zone, 0, vec![3, 1, 1, 1], 3),
            (&[("a 1", 3), ("a 2", 0), ("b 1", 3)], zone, 0, vec![2, 1, 3], 1),
            (&[("a 1", 2), ("b 1", 1), ("b 2", 1)], zone, 0, vec![2, 1, 1], 0),
            // No label is a zone of its own.
            (&[("a 1", 4), (" 1", 0)], zone, 0, vec![2, 2], 2),
        ] {
            let (mut tables, sample) = tables(nodes, spread, max_replicas);
            let mut expect: Vec<_> = nodes.iter().map(|(name, _)| *name).zip(expect).collect();
            expect.sort_unstable();
            let expect: Vec<u64> = expect.into_iter().map(|(_, count)| count).collect();
            assert_eq!(settle(&mut tables, &sample), (expect, steps), "{nodes:?} {spread:?}");
        }
    }

    #[test]
    fn who_may_not_leave_or_come_does_not() {
        let (tables, sample) = tables(&[("a 1", 9), ("a 2", 5), ("a 3", 0), ("a 4", 1)], None, 0);
        let shift = |leave: &str, come: &str| {
            let stand = |node: &Node| Stand {
                tasks: tables.tasks_by_node(&node.id).count() as u64,
                may_leave: leave.contains(&node.id),
                may_come: come.contains(&node.id),
            };
            next_shift(&tables, &sample, stand).map(|Shift { from, to }| format!("{from} > {to}"))
        };
        for (leave, come, expect) in [
            ("a 1 a 2 a 3 a 4", "a 1 a 2 a 3 a 4", Some("a 1 > a 3")),
            ("a 2", "a 4", Some("a 2 > a 4")),
            ("a 4", "a 3", None),
            ("a 2", "a 1", None),
            ("", "a 3", None),
            ("a 1", "", None),
        ] {
            assert_eq!(shift(leave, come).as_deref(), expect, "{leave} to {come}");
        }
    }
}

//! All nodes, with what is needed to find the best of them without a look at each: their order by load, and which of
//! them run tasks of a service.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::HashMap;
use swarm_proto::v1::{Node, Task};

use crate::demand::{Demand, Needs};
use crate::failures::{Failures, VersionedService};
use crate::filter;
use crate::node::NodeInfo;

/// So many different needs are kept in order; each costs a little with every task that comes or goes.
const CLASSES_MAX: usize = 8;

/// A node's place in [`Nodes`], for as long as it is there.
pub(crate) type Place = usize;

/// The nodes by their places; a place that became free is given to the next node that comes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    infos: Vec<Option<NodeInfo>>,
    free: Vec<Place>,
    places: HashMap<String, Place>,
    classes: Vec<Class>,
    /// How often a class was asked for.
    asked: u64,
    /// The places that have active tasks of a service.
    of_service: HashMap<String, BTreeSet<Place>>,
}

/// The nodes that suit some needs. Most services have one of a few, and the nodes that suit are then at hand in their
/// order, however many others there are.
#[derive(Debug)]
struct Class {
    needs: Needs,
    /// (active tasks, place)
    by_load: BTreeSet<(u64, Place)>,
    /// When it was asked for last.
    asked: u64,
}

impl Nodes {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&NodeInfo> {
        self.at(*self.places.get(id)?)
    }

    pub(crate) fn at(&self, place: Place) -> Option<&NodeInfo> {
        self.infos.get(place)?.as_ref()
    }

    /// All nodes with their places, in the order of these.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &NodeInfo)> {
        let node = |(place, info): (Place, &'_ Option<NodeInfo>)| info.as_ref().map(|_| place);
        let places = self.infos.iter().enumerate().filter_map(node);
        places.filter_map(|place| self.at(place).map(|info| (place, info)))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &NodeInfo> {
        self.infos.iter().flatten()
    }

    /// Puts the nodes in order that suit the needs of a demand, for [`Nodes::next_by_load`].
    pub(crate) fn sort_for(&mut self, demand: &Demand) {
        self.asked += 1;
        if let Some(class) = self.classes.iter_mut().find(|class| demand.has_needs(&class.needs)) {
            class.asked = self.asked;
            return;
        }
        if self.classes.len() == CLASSES_MAX
            && let Some(oldest) = (0..CLASSES_MAX).min_by_key(|index| self.classes[*index].asked)
        {
            self.classes.swap_remove(oldest);
        }
        let needs = demand.needs();
        let suiting = self.iter().filter(|(_, info)| filter::suits(&needs, &info.node));
        let by_load = suiting.map(|(place, info)| (info.active, place)).collect();
        self.classes.push(Class { needs, by_load, asked: self.asked });
    }

    /// The next node in the order of load, after the one `after`, of those that suit the demand that
    /// [`Nodes::sort_for`] was called with.
    pub(crate) fn next_by_load(
        &self,
        demand: &Demand,
        after: Option<(u64, Place)>,
    ) -> Option<(u64, Place)> {
        let class = self.classes.iter().find(|class| demand.has_needs(&class.needs))?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        class.by_load.range((start, Bound::Unbounded)).next().copied()
    }

    /// Whether active tasks of a service are on a node.
    pub(crate) fn has_service(&self, service: &str, place: Place) -> bool {
        self.of_service.get(service).is_some_and(|places| places.contains(&place))
    }

    /// The nodes that have active tasks of a service.
    pub(crate) fn with_service(&self, service: &str) -> impl Iterator<Item = Place> {
        self.of_service.get(service).into_iter().flatten().copied()
    }

    /// Takes in a node that is new, with the tasks that are on it already.
    pub(crate) fn insert<'a>(
        &mut self,
        node: Arc<Node>,
        failures: Failures,
        tasks: impl Iterator<Item = &'a Arc<Task>>,
    ) {
        let id = node.id.clone();
        self.remove(&id);
        let place = self.free.pop().unwrap_or_else(|| {
            self.infos.push(None);
            self.infos.len() - 1
        });
        let mut info = NodeInfo::new(node, failures);
        tasks.for_each(|task| info.put(task.clone()));
        for service in info.services() {
            self.of_service.entry(service.to_owned()).or_default().insert(place);
        }
        self.classes.iter_mut().for_each(|class| class.take_in(place, &info));
        self.infos[place] = Some(info);
        self.places.insert(id, place);
    }

    /// Takes what a known node says now; false where it is not known.
    pub(crate) fn replace(&mut self, node: &Arc<Node>) -> bool {
        let Some(&place) = self.places.get(&node.id) else { return false };
        let Some(Some(info)) = self.infos.get_mut(place) else { return false };
        info.replace(node.clone());
        self.classes.iter_mut().for_each(|class| class.take_in(place, info));
        true
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<NodeInfo> {
        let place = self.places.remove(id)?;
        let info = self.infos.get_mut(place)?.take()?;
        for class in &mut self.classes {
            class.by_load.remove(&(info.active, place));
        }
        for service in info.services() {
            self.leave_service(service, place);
        }
        self.free.push(place);
        Some(info)
    }

    /// Counts a task on its node, in place of what was counted of it there; nothing where the node is not known.
    pub(crate) fn count(&mut self, task: &Arc<Task>) {
        self.change(&task.node_id, &task.service_id, |info| info.put(task.clone()));
    }

    /// Counts a task on the node at a place.
    pub(crate) fn count_at(&mut self, place: Place, task: Arc<Task>) {
        let service = task.clone();
        self.change_at(place, &service.service_id, |info| info.put(task));
    }

    /// Uncounts a task.
    pub(crate) fn uncount(&mut self, task: &Task) {
        self.change(&task.node_id, &task.service_id, |info| info.take(&task.id));
    }

    /// Records that a task of a service failed on a node.
    pub(crate) fn record_failure(&mut self, id: &str, now: SystemTime, service: VersionedService) {
        let place = self.places.get(id);
        if let Some(Some(info)) = place.and_then(|place| self.infos.get_mut(*place)) {
            info.failures.record(now, service);
        }
    }

    /// Changes a node's tasks of one service, and keeps the orders true.
    fn change(&mut self, id: &str, service: &str, change: impl FnOnce(&mut NodeInfo)) {
        if let Some(&place) = self.places.get(id) {
            self.change_at(place, service, change);
        }
    }

    fn change_at(&mut self, place: Place, service: &str, change: impl FnOnce(&mut NodeInfo)) {
        let Some(Some(info)) = self.infos.get_mut(place) else { return };
        let (load, of_service) = (info.active, info.active_of(service));
        change(info);
        let (load_now, of_service_now) = (info.active, info.active_of(service));
        if load != load_now {
            for class in &mut self.classes {
                if class.by_load.remove(&(load, place)) {
                    class.by_load.insert((load_now, place));
                }
            }
        }
        match (of_service, of_service_now) {
            (0, 1..) => {
                self.of_service.entry(service.to_owned()).or_default().insert(place);
            }
            (1.., 0) => self.leave_service(service, place),
            _ => {}
        }
    }

    fn leave_service(&mut self, service: &str, place: Place) {
        if let Some(places) = self.of_service.get_mut(service) {
            places.remove(&place);
            if places.is_empty() {
                self.of_service.remove(service);
            }
        }
    }
}

impl Class {
    /// Looks anew whether a node suits; its load is the same as before.
    fn take_in(&mut self, place: Place, info: &NodeInfo) {
        if filter::suits(&self.needs, &info.node) {
            self.by_load.insert((info.active, place));
        } else {
            self.by_load.remove(&(info.active, place));
        }
    }
}

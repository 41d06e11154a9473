//! A whole state of the cluster: all tables with their indexes, at one version.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdSet;
use swarm_proto::v1::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, Task, Volume,
};

use crate::DEFAULT_CLUSTER_NAME;
use crate::change::{Change, Delta};
use crate::error::Error;
use crate::object::Object;
use crate::table::Table;

/// All tables at one version. A clone shares everything, and later writes to either leave the other as it is.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub(crate) nodes: Table<Node>,
    pub(crate) services: Table<Service>,
    pub(crate) tasks: Table<Task>,
    pub(crate) networks: Table<Network>,
    pub(crate) clusters: Table<Cluster>,
    pub(crate) secrets: Table<Secret>,
    pub(crate) resources: Table<Resource>,
    pub(crate) extensions: Table<Extension>,
    pub(crate) configs: Table<Config>,
    pub(crate) volumes: Table<Volume>,
    /// (service, slot, task): serves look-ups by service and by slot.
    tasks_by_slot: OrdSet<(Arc<str>, u64, Arc<str>)>,
    /// (node, task).
    tasks_by_node: OrdSet<(Arc<str>, Arc<str>)>,
    pub(crate) version: u64,
}

impl Tables {
    /// The object with this identifier.
    pub fn get<T: Object>(&self, id: &str) -> Option<&Arc<T>> {
        T::table(self).get(id)
    }

    /// The object with this name, compared without regard to case; none for nodes and tasks.
    pub fn by_name<T: Object>(&self, name: &str) -> Option<&Arc<T>> {
        T::table(self).by_name(name)
    }

    /// The objects whose identifiers begin with `prefix`, in their order.
    pub fn by_id_prefix<'a, T: Object>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        T::table(self).by_id_prefix(prefix)
    }

    /// All objects of a table, by identifier.
    pub fn iter<T: Object>(&self) -> impl Iterator<Item = &Arc<T>> {
        T::table(self).iter()
    }

    /// How many objects a table has.
    pub fn len<T: Object>(&self) -> usize {
        T::table(self).len()
    }

    /// Whether a table has no objects.
    pub fn is_empty<T: Object>(&self) -> bool {
        self.len::<T>() == 0
    }

    /// The tasks of a service, by slot and identifier.
    pub fn tasks_by_service(&self, service: &str) -> impl Iterator<Item = &Arc<Task>> {
        self.slots(service, 0, u64::MAX)
    }

    /// The tasks that have had this slot of a service and are still recorded.
    pub fn tasks_by_slot(&self, service: &str, slot: u64) -> impl Iterator<Item = &Arc<Task>> {
        self.slots(service, slot, slot)
    }

    fn slots(&self, service: &str, first: u64, last: u64) -> impl Iterator<Item = &Arc<Task>> {
        let service: Arc<str> = service.into();
        let start = (service.clone(), first, Arc::from(""));
        self.tasks_by_slot
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(of, slot, _)| *of == service && *slot <= last)
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// The tasks assigned to a node, by identifier.
    pub fn tasks_by_node(&self, node: &str) -> impl Iterator<Item = &Arc<Task>> {
        let node: Arc<str> = node.into();
        let start = (node.clone(), Arc::from(""));
        self.tasks_by_node
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(of, _)| *of == node)
            .filter_map(|(_, id)| self.tasks.get(id))
    }

    /// The one cluster object.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.by_name(DEFAULT_CLUSTER_NAME)
    }

    /// The version of the newest write in these tables.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Adds an object as it is.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NameConflict`].
    pub fn create<T: Object>(&mut self, object: T) -> Result<Change, Error> {
        if T::table(self).get(object.id()).is_some() {
            return Err(Error::Exists { kind: T::KIND, id: object.id().to_owned() });
        }
        T::table(self).check_name(&object)?;
        Ok(self.put_as(&object.id().into(), Arc::new(object)))
    }

    /// Replaces an object as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NameConflict`].
    pub fn update<T: Object>(&mut self, object: T) -> Result<Change, Error> {
        let key = self.get_key_value::<T>(object.id())?.0.clone();
        self.update_as(&key, object)
    }

    /// An object that is to be there, with its identifier as its table holds it.
    pub(crate) fn get_key_value<T: Object>(&self, id: &str) -> Result<(&Arc<str>, &Arc<T>), Error> {
        let held = T::table(self).get_key_value(id);
        held.ok_or_else(|| Error::NotFound { kind: T::KIND, id: id.to_owned() })
    }

    /// Replaces the object that was found by its `key`: a look-up less.
    pub(crate) fn update_as<T: Object>(
        &mut self,
        key: &Arc<str>,
        object: T,
    ) -> Result<Change, Error> {
        T::table(self).check_name(&object)?;
        Ok(self.put_as(key, Arc::new(object)))
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete<T: Object>(&mut self, id: &str) -> Result<Change, Error> {
        self.remove::<T>(id).ok_or_else(|| Error::NotFound { kind: T::KIND, id: id.to_owned() })
    }

    /// Puts an object in, whatever was there: how replicas follow the log.
    pub(crate) fn put<T: Object>(&mut self, new: Arc<T>) -> Change {
        let key = T::table(self).key(new.id());
        self.put_as(&key, new)
    }

    fn put_as<T: Object>(&mut self, key: &Arc<str>, new: Arc<T>) -> Change {
        self.version = self.version.max(new.version());
        let old = T::table_mut(self).put(key, new.clone());
        let change = T::change(Delta { old, new: Some(new) });
        self.index(key, &change);
        change
    }

    pub(crate) fn remove<T: Object>(&mut self, id: &str) -> Option<Change> {
        let old = T::table_mut(self).remove(id)?;
        let change = T::change(Delta { old: Some(old), new: None });
        self.index(&id.into(), &change);
        Some(change)
    }

    /// Keeps the task indexes in step with the table; `id` is the changed object's.
    fn index(&mut self, id: &Arc<str>, change: &Change) {
        let Change::Task(Delta { old, new }) = change else { return };
        if old.as_deref().map(slot_of) != new.as_deref().map(slot_of) {
            if let Some(task) = old {
                let key = self.slot_key(id, task);
                self.tasks_by_slot.remove(&key);
            }
            if let Some(task) = new {
                let key = self.slot_key(id, task);
                self.tasks_by_slot.insert(key);
            }
        }
        if old.as_deref().and_then(node_of) != new.as_deref().and_then(node_of) {
            if let Some(task) = old {
                let key = self.node_key(id, task);
                self.tasks_by_node.remove(&key);
            }
            if let Some(task) = new.as_ref().filter(|task| !task.node_id.is_empty()) {
                let key = self.node_key(id, task);
                self.tasks_by_node.insert(key);
            }
        }
    }

    /// Identifiers in the indexes are those of the tables.
    fn slot_key(&self, id: &Arc<str>, task: &Task) -> (Arc<str>, u64, Arc<str>) {
        (self.services.key(&task.service_id), task.slot, id.clone())
    }

    fn node_key(&self, id: &Arc<str>, task: &Task) -> (Arc<str>, Arc<str>) {
        (self.nodes.key(&task.node_id), id.clone())
    }
}

/// Where a task belongs.
fn slot_of(task: &Task) -> (&str, u64) {
    (&task.service_id, task.slot)
}

/// Where a task is, if anywhere.
fn node_of(task: &Task) -> Option<&str> {
    Some(task.node_id.as_str()).filter(|id| !id.is_empty())
}

//! Whole-state conversions: a snapshot's body out of the tables and back, and one log action into them.

use std::sync::Arc;

use prost::encoding::message;
use swarm_proto::v1::store_action::Target;
use swarm_proto::v1::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, StoreAction,
    StoreActionKind, StoreSnapshot, Task, Volume,
};

use crate::change::Change;
use crate::error::Error;
use crate::object::Object;
use crate::tables::Tables;

impl Tables {
    /// The tables as a snapshot carries them (SwarmKit's `StoreSnapshot`).
    pub fn to_snapshot(&self) -> StoreSnapshot {
        StoreSnapshot {
            nodes: self.all(),
            services: self.all(),
            networks: self.all(),
            tasks: self.all(),
            clusters: self.all(),
            secrets: self.all(),
            resources: self.all(),
            extensions: self.all(),
            configs: self.all(),
            volumes: self.all(),
        }
    }

    /// The tables that a snapshot carries.
    pub fn from_snapshot(snapshot: StoreSnapshot) -> Self {
        let mut tables = Self::default();
        tables.fill(snapshot.nodes);
        tables.fill(snapshot.services);
        tables.fill(snapshot.networks);
        // After the services, with which they share.
        for task in snapshot.tasks {
            tables.put(Arc::new(tables.sharing(task)));
        }
        tables.fill(snapshot.clusters);
        tables.fill(snapshot.secrets);
        tables.fill(snapshot.resources);
        tables.fill(snapshot.extensions);
        tables.fill(snapshot.configs);
        tables.fill(snapshot.volumes);
        tables
    }

    /// The length of what [`Tables::encode_snapshot`] writes.
    pub fn encoded_len(&self) -> usize {
        let mut bytes = 0;
        self.each_table(&mut Measure(&mut bytes));
        bytes
    }

    /// Writes the bytes of [`Tables::to_snapshot`], without a copy of any object.
    pub fn encode_snapshot(&self, buffer: &mut Vec<u8>) {
        self.each_table(&mut Encode(buffer));
    }

    /// Visits the tables with their fields in `StoreSnapshot`, in the order of these.
    fn each_table(&self, visitor: &mut impl Visitor) {
        visitor.table(1, self.iter::<Node>());
        visitor.table(2, self.iter::<Service>());
        visitor.table(3, self.iter::<Network>());
        visitor.table(4, self.iter::<Task>());
        visitor.table(5, self.iter::<Cluster>());
        visitor.table(6, self.iter::<Secret>());
        visitor.table(7, self.iter::<Resource>());
        visitor.table(8, self.iter::<Extension>());
        visitor.table(9, self.iter::<Config>());
        visitor.table(10, self.iter::<Volume>());
    }

    fn all<T: Object>(&self) -> Vec<T> {
        self.iter::<T>().map(|object| T::clone(object)).collect()
    }

    fn fill<T: Object>(&mut self, objects: Vec<T>) {
        for object in objects {
            self.put(Arc::new(object));
        }
    }

    /// Follows one action of a committed log entry; `None` where it changes nothing.
    ///
    /// # Errors
    /// [`Error::Undecodable`] where the action has no target or an unknown kind.
    pub(crate) fn follow(&mut self, action: StoreAction) -> Result<Option<Change>, Error> {
        let kind = StoreActionKind::try_from(action.action)
            .map_err(|_| Error::Undecodable { what: "store action kind" })?;
        let target = action.target.ok_or(Error::Undecodable { what: "store action target" })?;
        Ok(match target {
            Target::Node(object) => self.follow_object(kind, object),
            Target::Service(object) => self.follow_object(kind, object),
            Target::Task(object) => self.follow_object(kind, self.sharing(object)),
            Target::Network(object) => self.follow_object(kind, object),
            Target::Cluster(object) => self.follow_object(kind, object),
            Target::Secret(object) => self.follow_object(kind, object),
            Target::Resource(object) => self.follow_object(kind, object),
            Target::Extension(object) => self.follow_object(kind, object),
            Target::Config(object) => self.follow_object(kind, object),
            Target::Volume(object) => self.follow_object(kind, object),
        })
    }

    fn follow_object<T: Object>(&mut self, kind: StoreActionKind, object: T) -> Option<Change> {
        self.version = self.version.max(object.version());
        match kind {
            StoreActionKind::StoreActionRemove => self.remove::<T>(object.id()),
            _ => Some(self.put(Arc::new(object))),
        }
    }
}

/// What is done with the objects of each table under their field's number.
trait Visitor {
    fn table<'a, T: Object>(&mut self, field: u32, objects: impl Iterator<Item = &'a Arc<T>>);
}

struct Measure<'a>(&'a mut usize);

impl Visitor for Measure<'_> {
    fn table<'a, T: Object>(&mut self, field: u32, objects: impl Iterator<Item = &'a Arc<T>>) {
        *self.0 += objects.map(|object| message::encoded_len(field, &**object)).sum::<usize>();
    }
}

struct Encode<'a>(&'a mut Vec<u8>);

impl Visitor for Encode<'_> {
    fn table<'a, T: Object>(&mut self, field: u32, objects: impl Iterator<Item = &'a Arc<T>>) {
        objects.for_each(|object| message::encode(field, &**object, self.0));
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use swarm_proto::v1::Meta;

    use super::*;

    #[test]
    fn tables_are_encoded_as_their_snapshot_is() {
        let mut tables = Tables::default();
        let meta = Some(Meta { version: Some(Default::default()), ..Meta::default() });
        tables.put(Arc::new(Node { id: "n".into(), meta, ..Node::default() }));
        tables.put(Arc::new(Service { id: "s".into(), ..Service::default() }));
        tables.put(Arc::new(Network { id: "w".into(), ..Network::default() }));
        for slot in 0..300 {
            let task = Task { id: format!("t{slot}"), slot, ..Task::default() };
            tables.put(Arc::new(task));
        }
        tables.put(Arc::new(Cluster { id: "c".into(), ..Cluster::default() }));
        tables.put(Arc::new(Secret { id: "x".into(), ..Secret::default() }));
        tables.put(Arc::new(Resource { id: "r".into(), ..Resource::default() }));
        tables.put(Arc::new(Extension { id: "e".into(), ..Extension::default() }));
        tables.put(Arc::new(Config { id: "f".into(), ..Config::default() }));
        tables.put(Arc::new(Volume { id: "v".into(), ..Volume::default() }));
        let mut bytes = Vec::new();
        tables.encode_snapshot(&mut bytes);
        assert_eq!(bytes, tables.to_snapshot().encode_to_vec());
        assert_eq!(bytes.len(), tables.encoded_len());
        assert_eq!(StoreSnapshot::decode(bytes.as_slice()), Ok(tables.to_snapshot()));
    }
}

//! Whole-state conversions: a snapshot's body out of the tables and back, and one log action into them.

use std::sync::Arc;

use swarm_proto::v1::store_action::Target;
use swarm_proto::v1::{StoreAction, StoreActionKind, StoreSnapshot};

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
        tables.fill(snapshot.tasks);
        tables.fill(snapshot.clusters);
        tables.fill(snapshot.secrets);
        tables.fill(snapshot.resources);
        tables.fill(snapshot.extensions);
        tables.fill(snapshot.configs);
        tables.fill(snapshot.volumes);
        tables
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
            Target::Task(object) => self.follow_object(kind, object),
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

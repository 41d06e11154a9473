//! What changed in the tables, and what a plan wants changed.

use std::sync::Arc;

use swarm_proto::v1::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, StoreAction,
    StoreActionKind, Task, Volume,
};

use crate::object::{Kind, Object};

/// One object before and after: created where `old` is none, deleted where `new` is none.
#[derive(Debug, Clone)]
pub struct Delta<T> {
    /// The object before the change.
    pub old: Option<Arc<T>>,
    /// The object after the change.
    pub new: Option<Arc<T>>,
}

impl<T: Object> Delta<T> {
    fn action(&self, version: u64) -> StoreAction {
        let kind = match (&self.old, &self.new) {
            (None, _) => StoreActionKind::StoreActionCreate,
            (Some(_), Some(_)) => StoreActionKind::StoreActionUpdate,
            (Some(_), None) => StoreActionKind::StoreActionRemove,
        };
        let target = match (&self.new, &self.old) {
            (Some(new), _) => Some(T::target(new)),
            (None, Some(old)) => {
                // A removal tells replicas the version that it made, so that versions never repeat.
                let mut gone = T::clone(old);
                gone.meta_mut().version.get_or_insert_default().index = version;
                Some(T::target(&Arc::new(gone)))
            }
            (None, None) => None,
        };
        StoreAction { action: kind.into(), target }
    }
}

/// A change of one object, by table.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is the table of its name")]
pub enum Change {
    Node(Delta<Node>),
    Service(Delta<Service>),
    Task(Delta<Task>),
    Network(Delta<Network>),
    Cluster(Delta<Cluster>),
    Secret(Delta<Secret>),
    Resource(Delta<Resource>),
    Extension(Delta<Extension>),
    Config(Delta<Config>),
    Volume(Delta<Volume>),
}

impl Change {
    /// The table of the object.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Node(_) => Kind::Node,
            Self::Service(_) => Kind::Service,
            Self::Task(_) => Kind::Task,
            Self::Network(_) => Kind::Network,
            Self::Cluster(_) => Kind::Cluster,
            Self::Secret(_) => Kind::Secret,
            Self::Resource(_) => Kind::Resource,
            Self::Extension(_) => Kind::Extension,
            Self::Config(_) => Kind::Config,
            Self::Volume(_) => Kind::Volume,
        }
    }

    /// The change as the log records it; `version` is the one that its transaction made.
    pub(crate) fn action(&self, version: u64) -> StoreAction {
        match self {
            Self::Node(delta) => delta.action(version),
            Self::Service(delta) => delta.action(version),
            Self::Task(delta) => delta.action(version),
            Self::Network(delta) => delta.action(version),
            Self::Cluster(delta) => delta.action(version),
            Self::Secret(delta) => delta.action(version),
            Self::Resource(delta) => delta.action(version),
            Self::Extension(delta) => delta.action(version),
            Self::Config(delta) => delta.action(version),
            Self::Volume(delta) => delta.action(version),
        }
    }
}

/// A write that a control loop plans. Updates carry the object whole, based on the version that the plan read.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is the operation and table of its name")]
pub enum Write {
    CreateTask(Box<Task>),
    UpdateTask(Box<Task>),
    DeleteTask(String),
    UpdateService(Box<Service>),
    DeleteService(String),
    UpdateNode(Box<Node>),
    DeleteNode(String),
    UpdateNetwork(Box<Network>),
    DeleteNetwork(String),
    UpdateCluster(Box<Cluster>),
}

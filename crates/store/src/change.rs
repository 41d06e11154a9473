//! What changed in the tables, and what a plan wants changed.

use std::sync::Arc;

use swarm_proto::v1::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, Task, Volume,
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
    fn id(&self) -> &str {
        self.new.as_ref().or(self.old.as_ref()).map_or("", |object| object.id())
    }

    fn weight(&self) -> usize {
        self.new.as_ref().or(self.old.as_ref()).map_or(0, |object| object.encoded_len())
    }

    /// This and then the other of the same object; none where nothing comes of both.
    fn then(self, later: Self) -> Option<Self> {
        let both = Self { old: self.old, new: later.new };
        (both.old.is_some() || both.new.is_some()).then_some(both)
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

    /// The object's identifier.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Node(delta) => delta.id(),
            Self::Service(delta) => delta.id(),
            Self::Task(delta) => delta.id(),
            Self::Network(delta) => delta.id(),
            Self::Cluster(delta) => delta.id(),
            Self::Secret(delta) => delta.id(),
            Self::Resource(delta) => delta.id(),
            Self::Extension(delta) => delta.id(),
            Self::Config(delta) => delta.id(),
            Self::Volume(delta) => delta.id(),
        }
    }

    /// How many bytes of a log entry the object takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Node(delta) => delta.weight(),
            Self::Service(delta) => delta.weight(),
            Self::Task(delta) => delta.weight(),
            Self::Network(delta) => delta.weight(),
            Self::Cluster(delta) => delta.weight(),
            Self::Secret(delta) => delta.weight(),
            Self::Resource(delta) => delta.weight(),
            Self::Extension(delta) => delta.weight(),
            Self::Config(delta) => delta.weight(),
            Self::Volume(delta) => delta.weight(),
        }
    }

    /// This and then `later`, which is of the same object; none where nothing comes of both.
    pub(crate) fn then(self, later: Self) -> Option<Self> {
        match (self, later) {
            (Self::Node(first), Self::Node(later)) => first.then(later).map(Self::Node),
            (Self::Service(first), Self::Service(later)) => first.then(later).map(Self::Service),
            (Self::Task(first), Self::Task(later)) => first.then(later).map(Self::Task),
            (Self::Network(first), Self::Network(later)) => first.then(later).map(Self::Network),
            (Self::Cluster(first), Self::Cluster(later)) => first.then(later).map(Self::Cluster),
            (Self::Secret(first), Self::Secret(later)) => first.then(later).map(Self::Secret),
            (Self::Resource(first), Self::Resource(later)) => first.then(later).map(Self::Resource),
            (Self::Extension(first), Self::Extension(later)) => {
                first.then(later).map(Self::Extension)
            }
            (Self::Config(first), Self::Config(later)) => first.then(later).map(Self::Config),
            (Self::Volume(first), Self::Volume(later)) => first.then(later).map(Self::Volume),
            (_, later) => Some(later),
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

impl Write {
    /// What is written.
    pub(crate) fn object(&self) -> (Kind, &str) {
        match self {
            Self::CreateTask(task) | Self::UpdateTask(task) => (Kind::Task, &task.id),
            Self::DeleteTask(id) => (Kind::Task, id),
            Self::UpdateService(service) => (Kind::Service, &service.id),
            Self::DeleteService(id) => (Kind::Service, id),
            Self::UpdateNode(node) => (Kind::Node, &node.id),
            Self::DeleteNode(id) => (Kind::Node, id),
            Self::UpdateNetwork(network) => (Kind::Network, &network.id),
            Self::DeleteNetwork(id) => (Kind::Network, id),
            Self::UpdateCluster(cluster) => (Kind::Cluster, &cluster.id),
        }
    }
}

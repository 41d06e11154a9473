//! What every store object has in common, and which table it lives in.

use swarm_proto::v1::{
    Cluster, Config, Extension, Meta, Network, Node, Resource, Secret, Service, Task, Volume,
};

use crate::change::{Change, Delta};
use crate::table::Table;
use crate::tables::Tables;

/// The tables of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Members of the cluster.
    Node,
    /// Services.
    Service,
    /// Tasks.
    Task,
    /// Networks.
    Network,
    /// The one cluster object.
    Cluster,
    /// Secrets.
    Secret,
    /// Custom resources.
    Resource,
    /// Kinds of custom resources.
    Extension,
    /// Configs.
    Config,
    /// Cluster volumes.
    Volume,
}

impl Kind {
    /// Every table.
    pub const ALL: &[Self] = &[
        Self::Node,
        Self::Service,
        Self::Task,
        Self::Network,
        Self::Cluster,
        Self::Secret,
        Self::Resource,
        Self::Extension,
        Self::Config,
        Self::Volume,
    ];
}

/// A message that the store keeps in a table.
pub trait Object: prost::Message + Clone + Default + PartialEq + Send + Sync + 'static {
    /// Its table.
    const KIND: Kind;
    /// The field of a `StoreAction` that carries it.
    const TARGET: u32;

    /// The identifier.
    fn id(&self) -> &str;

    /// The name that must be unique in the table; empty where there is none.
    fn name(&self) -> &str;

    /// Version and times.
    fn meta(&self) -> Option<&Meta>;

    /// Version and times, made where missing.
    fn meta_mut(&mut self) -> &mut Meta;

    /// The version index at which the object was last written; 0 if never.
    fn version(&self) -> u64 {
        self.meta().and_then(|meta| meta.version.as_ref()).map_or(0, |version| version.index)
    }

    #[doc(hidden)]
    fn table(tables: &Tables) -> &Table<Self>;
    #[doc(hidden)]
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
    #[doc(hidden)]
    fn change(delta: Delta<Self>) -> Change;
}

macro_rules! objects {
    ($($kind:ident, $field:ident, $target:literal, $name:expr;)*) => {
        $(impl Object for $kind {
            const KIND: Kind = Kind::$kind;
            const TARGET: u32 = $target;

            fn id(&self) -> &str {
                &self.id
            }

            fn name(&self) -> &str {
                let name: fn(&$kind) -> Option<&str> = $name;
                name(self).unwrap_or_default()
            }

            fn meta(&self) -> Option<&Meta> {
                self.meta.as_ref()
            }

            fn meta_mut(&mut self) -> &mut Meta {
                self.meta.get_or_insert_default()
            }

            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$field
            }

            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }

            fn change(delta: Delta<Self>) -> Change {
                Change::$kind(delta)
            }

        })*
    };
}

// Nodes and tasks have no unique names: two machines may share a hostname, and a task is named by service and slot.
objects! {
    Node, nodes, 2, |_| None;
    Service, services, 3, |object| Some(&object.spec.as_ref()?.annotations.as_ref()?.name);
    Task, tasks, 4, |_| None;
    Network, networks, 5, |object| Some(&object.spec.as_ref()?.annotations.as_ref()?.name);
    Cluster, clusters, 6, |object| Some(&object.spec.as_ref()?.annotations.as_ref()?.name);
    Secret, secrets, 7, |object| Some(&object.spec.as_ref()?.annotations.as_ref()?.name);
    Resource, resources, 8, |object| Some(&object.annotations.as_ref()?.name);
    Extension, extensions, 9, |object| Some(&object.annotations.as_ref()?.name);
    Config, configs, 10, |object| Some(&object.spec.as_ref()?.annotations.as_ref()?.name);
    Volume, volumes, 11, |object| Some(&object.spec.as_ref()?.annotations.as_ref()?.name);
}

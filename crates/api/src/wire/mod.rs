//! Docker's JSON for the swarm's objects: keys, and which empty values are left out.
//!
//! `bollard-stubs` models these types for clients. A server needs what those leave out (`PreviousSpec`,
//! `NetworksAttachments`, `Availability` of init and join, `Healthcheck` by its real key), so they are written down
//! here. Mirrors moby's `api/types/swarm`: field for field, `omitempty` for `omitempty`.

macro_rules! wire {
    ($($(#[$meta:meta])* struct $name:ident { $($key:literal $skip:literal $field:ident: $type:ty,)* })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $(#[serde(rename = $key, skip_serializing_if = $skip)] pub(crate) $field: $type,)*
        }
    )* };
}

mod cluster;
mod container;
mod node;
mod service;
mod stored;
mod task;

use std::collections::HashMap;

pub(crate) use cluster::*;
pub(crate) use container::*;
pub(crate) use node::*;
pub(crate) use service::*;
pub(crate) use stored::*;
pub(crate) use task::*;

/// Labels and options.
pub(crate) type Map = HashMap<String, String>;

/// Go's `omitempty`: the zero value is left out.
fn omit<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field that is always written.
fn keep<T>(_: &T) -> bool {
    false
}

wire! {
    /// An object's version, the basis of optimistic concurrency.
    struct Version { "Index" "omit" index: u64, }
    /// A driver by name with its options.
    struct Driver { "Name" "omit" name: String, "Options" "omit" options: Map, }
    /// An empty object such as the mode `Global`.
    struct Empty {}
}

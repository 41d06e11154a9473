//! Docker's JSON for the swarm's objects: keys, and which empty values are left out.
//!
//! `bollard-stubs` models these types for clients. A server needs what those leave out (`PreviousSpec`,
//! `NetworksAttachments`, `Availability` of init and join, `Healthcheck` by its real key), so they are written down
//! here. Mirrors moby's `api/types/swarm`: field for field, `omitempty` for `omitempty`.

macro_rules! wire {
    ($($(#[$meta:meta])* struct $name:ident { $($key:literal $skip:literal $field:ident: $type:ty,)* })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, remote = "Self")]
        pub(crate) struct $name {
            $(#[serde(rename = $key, skip_serializing_if = $skip)] pub(crate) $field: $type,)*
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }

        // What is derived takes a list for an object, which no client means.
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        map: A,
                    ) -> Result<$name, A::Error> {
                        $name::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }

                deserializer.deserialize_map(Fields)
            }
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

//! Docker's JSON to SwarmKit's messages and back, one file per resource.
//!
//! Pure functions: no name is looked up here. Mirrors moby's `daemon/cluster/convert`.

pub(crate) mod common;
pub(crate) mod container;
mod issuer;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod network_resource;
pub(crate) mod node;
pub(crate) mod privileges;
pub(crate) mod references;
pub(crate) mod resources;
pub(crate) mod service;
pub(crate) mod stored;
pub(crate) mod swarm;
pub(crate) mod task;
pub(crate) mod update;

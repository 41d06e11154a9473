//! Volumes: folders that outlive containers, and mounts that the local driver makes for them.
//!
//! On disk, in the store's folder: `<name>/volume.json` and `<name>/_data`. [`store`](mod@store) keeps them, `mount`
//! lends them to containers, `copy_up` fills a new one from an image. Only Docker's `local` driver exists; there are
//! no plugins.

mod copy_up;
mod list;
mod mount;
mod mount_options;
mod name;
mod prune;
pub mod store;

pub use store::{CreateVolume, VolumeStore, VolumeUsers};

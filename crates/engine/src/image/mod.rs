//! Images: content-addressed blobs and layers on disk, names for them, and the ways in.
//!
//! The tour: [`reference`](mod@reference) and [`digest`](mod@digest) name things; [`store`](mod@store) keeps them
//! (configs as blobs, layers as folders for overlayfs, names in one index file); `archive` and `import` bring them in
//! from tar streams, [`crate::registry`] from registries; `list`, `inspect`, `remove` answer the API. An image's ID is
//! the digest of its config, as in Docker's own store. Nothing here knows containers: who uses an image is asked
//! through a callback.

mod archive;
mod changes;
pub mod config;
mod decompress;
pub mod digest;
pub(crate) mod durable;
pub(crate) mod filter;
mod grammar;
mod import;
mod index;
mod inspect;
pub(crate) mod layer;
mod layers;
pub(crate) mod lease;
mod list;
pub mod platform;
pub mod progress;
pub mod reference;
mod remove;
pub mod store;
mod usage;

pub use config::Image;
pub use digest::Digest;
pub use filter::Filters;
pub use import::ImportOptions;
pub use list::ListOptions;
pub use platform::Platform;
pub use progress::{Message, Progress};
pub use reference::Reference;
pub use remove::{ImageUser, ImageUsers, RemoveOptions};
pub use store::ImageStore;
pub use usage::ImageUsage;

pub(crate) use archive::check_os;
pub(crate) use decompress::decompress;

//! Layers: a tar stream in, a folder that overlayfs can stack out.
//!
//! Where layers live and who uses them is the store's business; this room knows one layer at a time.

mod attributes;
mod beneath;
mod sys;
mod unpack;
mod whiteout;

pub(crate) use unpack::unpack;

pub(crate) use sys::copy_xattrs;

//! Which engines there are: from the command line, a file, or a store where agents register them.

mod entry;
mod file;
mod follow;
mod pattern;
mod register;
mod url;

pub(crate) use entry::{Entry, is_address};
pub(crate) use file::read_file;
pub(crate) use follow::{entries, follow};
pub(crate) use register::register;
pub(crate) use url::{Source, StoreKind, StoreUrl};

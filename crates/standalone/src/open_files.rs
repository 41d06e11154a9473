//! How many files the manager may have open: each engine takes some connections, and a thousand of them more than the
//! thousand files that a process gets unless it asks for more.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Asks for all that the system allows.
pub(crate) fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        // Few engines need no more than there is.
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

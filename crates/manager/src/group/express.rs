//! A thread of its own for what the members of the group say to each other.
//!
//! A manager that is busy with thousands of nodes, or whose machine is busy with something else, must still hear its
//! leader in time: a vote that nobody needed costs everybody a second. So messages of Raft come and go on a thread that
//! goes before all others of the process and before ordinary processes; so does the Raft thread.

use std::io;
use std::thread;

use swarm_pulse::raise_priority;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing::debug;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Express {
    handle: Handle,
    /// Its end is told by being dropped.
    _running: oneshot::Sender<()>,
}

impl Express {
    /// # Errors
    /// [`io::Error`], where the machine has no thread or no open file left.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("raft-express".to_owned()).spawn(move || {
            go_first();
            // Nothing is ever sent.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _running: running })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

/// The calling thread goes before others, where the daemon may.
pub(crate) fn go_first() {
    if !raise_priority() {
        debug!("messages of the group are carried at usual priority");
    }
}

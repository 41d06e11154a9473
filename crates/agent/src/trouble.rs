//! Why this node has no session with any manager, as `docker info` tells it.
//!
//! Stock engines keep this to their log: there a worker that was removed looks like any other.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tonic::Status;

/// In the refusals of SwarmKit's managers and of ours to a node that was removed (`ca.certificateUser`'s check).
const REMOVED: &str = "was removed from swarm";

/// The last reason, until a session begins.
pub(crate) struct Trouble {
    told: watch::Sender<String>,
    /// A manager that cannot be reached says nothing against one that said so.
    is_removed: AtomicBool,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { told: watch::channel(String::new()).0, is_removed: AtomicBool::new(false) }
    }
}

impl Trouble {
    pub(crate) fn watch(&self) -> watch::Receiver<String> {
        self.told.subscribe()
    }

    /// A session has begun.
    pub(crate) fn over(&self) {
        self.is_removed.store(false, Ordering::Relaxed);
        self.told.send_replace(String::new());
    }

    /// There is nobody to ask.
    pub(crate) fn unreachable(&self, error: &str) {
        self.tell(format!("no manager can be reached: {error}"));
    }

    /// The manager at `address` did not begin a session.
    pub(crate) fn refused(&self, address: &str, status: &Status) {
        if status.message().contains(REMOVED) {
            self.tell(
                "this node was removed from the swarm: run \"docker swarm leave\", and join again"
                    .to_owned(),
            );
            self.is_removed.store(true, Ordering::Relaxed);
        } else {
            let said = status.message();
            let from =
                if said.starts_with(address) { String::new() } else { format!("{address}: ") };
            self.tell(format!("no manager takes this node: {from}{said}"));
        }
    }

    fn tell(&self, reason: String) {
        if !self.is_removed.load(Ordering::Relaxed) {
            self.told.send_replace(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stays_until_a_session_begins() {
        let trouble = Trouble::default();
        let told = trouble.watch();
        let check = |expect: &str| assert!(told.borrow().starts_with(expect), "{}", *told.borrow());
        trouble.refused("10.0.0.1:2377", &Status::unavailable("Connection refused"));
        check("no manager takes this node: 10.0.0.1:2377: Connection refused");
        trouble.refused("10.0.0.1:2377", &Status::unavailable("10.0.0.1:2377: No route to host"));
        check("no manager takes this node: 10.0.0.1:2377: No route to host");
        trouble.unreachable("none is known");
        check("no manager can be reached: none is known");
        trouble
            .refused("10.0.0.2:2377", &Status::permission_denied("node x was removed from swarm"));
        check("this node was removed from the swarm");
        trouble.refused("10.0.0.1:2377", &Status::unavailable("Connection refused"));
        check("this node was removed from the swarm");
        trouble.over();
        assert!(told.borrow().is_empty());
        trouble.unreachable("none is known");
        check("no manager can be reached");
    }
}

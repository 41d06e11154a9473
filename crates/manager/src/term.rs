//! What runs while this manager leads: founding, control loops, dispatcher, log broker, signer and roles. It begins and ends
//! with the Raft leadership, as often as that comes and goes.
//!
//! Mirrors SwarmKit's `manager.becomeLeader` and `becomeFollower`.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use swarm_dispatcher::Dispatcher;
use swarm_proto::id::new_id;
use swarm_raft::{RaftNode, Status};
use swarm_store::{ControlLoop, Error, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::control_driver;
use crate::founding::{Founding, found};
use crate::group::Group;
use crate::log_broker::LogBroker;
use crate::node_ca::{Rotator, Signer};
use crate::reform::reform;
use crate::{metrics, role_manager};

/// What ended before its time is begun anew after this.
const ANEW_AFTER: Duration = Duration::from_secs(1);

/// The leader's duties, ready for any number of terms.
pub(crate) struct Duties {
    pub(crate) node_id: String,
    pub(crate) store: Store,
    pub(crate) founding: Option<Founding>,
    /// Told once, when the first term has made this manager the only one; none where it is one of several.
    pub(crate) reformed: Option<watch::Sender<bool>>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) log_broker: LogBroker,
    pub(crate) group: Group,
    /// The certificates' organization.
    pub(crate) cluster_id: String,
}

impl Duties {
    /// Serves every term of this member's leadership; dropping the future ends the current one. A term that panics is
    /// begun anew: a leader that does nothing would be worse than none.
    pub(crate) async fn run(self, raft: RaftNode) {
        while AssertUnwindSafe(self.serve(&raft)).catch_unwind().await.is_err() {
            error!(node.id = self.node_id, "the leader's duties broke off and begin anew");
            tokio::time::sleep(ANEW_AFTER).await;
        }
    }

    async fn serve(&self, raft: &RaftNode) {
        let mut status = raft.watch();
        loop {
            if status.wait_for(|status| status.serving).await.is_err() {
                return;
            }
            info!(node.id = self.node_id, "leadership acquired");
            let mut until = status.clone();
            let mut loops = None;
            tokio::select! {
                () = self.term(&mut loops) => {}
                () = lost(&mut until) => info!(node.id = self.node_id, "leadership lost"),
            }
            if let Some(loops) = loops {
                // What it is in the middle of belongs to this term: the next waits for it.
                loops.end().await;
            }
            lost(&mut status).await;
        }
    }

    /// Runs the control loops for as long as the term lasts; they end by themselves when a write of theirs fails.
    async fn keep(&self, loops: &mut Option<Loops>) {
        loop {
            loops.insert(Loops::start(self.store.clone())).ended().await;
            tokio::time::sleep(ANEW_AFTER).await;
        }
    }

    async fn term(&self, loops: &mut Option<Loops>) {
        if let Some(founding) = &self.founding {
            let founded =
                self.store.update(|transaction| found(transaction, founding, &self.node_id)).await;
            if let Err(error) = founded {
                return error!(%error, "founding the cluster failed");
            }
        }
        if let Some(reformed) = self.reformed.as_ref().filter(|reformed| !*reformed.borrow()) {
            let done = self.store.update(|transaction| reform(transaction, &self.node_id)).await;
            if let Err(error) = done {
                return error!(%error, "making this manager the only one failed");
            }
            reformed.send_replace(true);
        }
        if let Err(error) = self.store.update(|_| Ok::<_, Error>(())).await {
            return error!(%error, "the store is not ready");
        }
        tokio::join!(
            self.keep(loops),
            self.dispatcher.run(pending()),
            self.log_broker.run(pending()),
            Signer::new(self.store.clone(), &self.cluster_id, self.group.materials.clone()).run(),
            Rotator::new(self.store.clone()).run(),
            role_manager::run(self.store.clone(), self.group.clone()),
            metrics::note_delays(self.store.clone()),
        );
    }
}

/// The control loops in a task of their own: their cycles take long, and hold up nothing else of the term.
struct Loops(JoinHandle<()>);

impl Loops {
    fn start(store: Store) -> Self {
        Self(tokio::spawn(control_driver::run(store, control_loops())))
    }

    /// Waits for their end, whether they were asked for it or not.
    async fn ended(&mut self) {
        // A finished task must not be asked again.
        if !self.0.is_finished() {
            // A panic was reported where it happened, and the loops are over either way.
            let _ = (&mut self.0).await;
        }
    }

    async fn end(mut self) {
        self.0.abort();
        self.ended().await;
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn lost(status: &mut watch::Receiver<Status>) {
    // A closed channel means that the member stopped, which ends the term as well.
    let _ = status.wait_for(|status| !status.serving).await;
}

/// The loops in the order in which one's plans concern the next.
fn control_loops() -> Vec<Box<dyn ControlLoop>> {
    let mut loops = swarm_orchestrator::control_loops(|| Box::new(new_id));
    loops.extend(swarm_allocator::control_loops());
    loops.extend(swarm_scheduler::control_loops());
    loops
}

//! Runs the control loops on the leader, cycle by cycle, whenever something changed or a loop's time has come.
//!
//! What a cycle does is the store's [`LoopDriver`]; the decisions are in the rooms `orchestrator`, `allocator` and
//! `scheduler`.

use swarm_store::{ControlLoop, Error, LoopDriver, Rest, Store};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::{debug, error};

/// Does what takes long, without keeping this thread's other tasks waiting, which a runtime of one thread can't.
fn busy<R>(work: impl FnOnce() -> R) -> R {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs `loops` until leadership is lost.
pub(crate) async fn run(store: Store, mut loops: Vec<Box<dyn ControlLoop>>) {
    store.attach_feed();
    let mut driver = LoopDriver::default();
    loop {
        if let Some(start) = driver.start(&store) {
            busy(|| driver.catch_up(&mut loops, start));
        }
        // A cycle is a portion: too short for the price of moving the thread's other tasks.
        let cycle = store
            .propose_in_turn(|transaction| {
                let rest = driver.cycle(&mut loops, transaction);
                Ok::<_, Error>((rest, transaction.version()))
            })
            .await;
        let rest = match cycle {
            Ok(((rest, version), committed)) => {
                if let Some(committed) = committed
                    && !matches!(committed.await, Ok(Ok(())))
                {
                    break;
                }
                if rest != Rest::AT_ONCE && rest != Rest::Unsettled {
                    store.note_settled(version);
                }
                rest
            }
            Err(Error::NotLeader) => break,
            Err(error) => {
                error!(%error, "the control loops could not write");
                driver.restart();
                Rest::Unsettled
            }
        };
        match rest.length() {
            Some(length) => tokio::select! {
                () = tokio::time::sleep(length) => {}
                () = store.fed(), if rest != Rest::Unsettled => {}
            },
            None => store.fed().await,
        }
    }
    store.detach_feed();
    debug!("the control loops ended with the leadership");
}

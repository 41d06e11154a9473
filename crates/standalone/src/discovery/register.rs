//! An agent's duty: keeping one engine's address in a store.
//!
//! Mirrors docker/swarm's `cli/join.go`. An agent that ends leaves its entry to its time, as the original's did: when a
//! machine is shut down, managers must see an engine that is lost, whose containers go elsewhere, rather than none.

use std::time::Duration;

use rand::Rng as _;

use crate::store::{Claim, Store};

/// A store that fails is asked again after so long at first, then after twice as long each time up to the heartbeat: the
/// original waited for the next heartbeat.
const RETRY_MIN: Duration = Duration::from_millis(500);

/// Registers at each heartbeat, for ever; `discovery` is the store as the command line named it.
pub(crate) async fn register(
    store: &dyn Store,
    claim: &Claim,
    heartbeat: Duration,
    discovery: &str,
) {
    let mut retry = RETRY_MIN;
    loop {
        tracing::info!(
            addr = claim.value,
            discovery,
            "Registering on the discovery service every {}...",
            crate::duration::shown(heartbeat)
        );
        let pause = match store.register(claim).await {
            Ok(()) => {
                retry = RETRY_MIN;
                heartbeat
            }
            Err(error) => {
                tracing::error!("{error}");
                let pause = retry.min(heartbeat);
                retry = (retry * 2).min(heartbeat);
                // Agents that lost one store at one time don't come back at one time.
                pause.mul_f64(rand::rng().random_range(0.5..1.0))
            }
        };
        tokio::time::sleep(pause).await;
    }
}

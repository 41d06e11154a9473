//! Which engine a build runs on: what its client says later must go there, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::engine::Engine;

/// A build is remembered for so long; no more than so many are.
const KEPT: Duration = Duration::from_secs(3600);
const BUILDS_MAX: usize = 10_000;
/// What belongs to a build may come so long before it.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Engines by the identifiers of builds and of their sessions.
#[derive(Debug, Default)]
pub(super) struct BuildNodes {
    known: Mutex<BTreeMap<String, (Arc<Engine>, Instant)>>,
    more: Notify,
}

impl BuildNodes {
    /// The build, or the session, of this identifier is there.
    pub(super) fn note(&self, id: &str, engine: &Arc<Engine>) {
        let now = Instant::now();
        {
            let mut known = self.lock();
            known.retain(|_, (_, at)| now.duration_since(*at) < KEPT);
            if known.len() >= BUILDS_MAX {
                known.clear();
            }
            known.insert(id.to_owned(), (engine.clone(), now));
        }
        self.more.notify_waiters();
    }

    /// Waits until it is known where it is; none where it is not in time.
    pub(super) async fn find(&self, id: &str) -> Option<Arc<Engine>> {
        let waiting = async {
            loop {
                let more = self.more.notified();
                tokio::pin!(more);
                // From here on nothing new is missed.
                more.as_mut().enable();
                let known = self.lock().get(id).map(|(engine, _)| engine.clone());
                if let Some(engine) = known {
                    return engine;
                }
                more.await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, waiting).await.ok()
    }

    // Each change is whole before anything can panic.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Arc<Engine>, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

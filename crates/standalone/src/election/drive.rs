//! A candidate's life: the store, the clock and the log around [`Election`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Action, Election, Event};
use crate::clock::{self, Moment};
use crate::leadership::Leadership;
use crate::store::{Claim, Holding, Session, Store};

/// No attempt takes longer, nor longer than a quarter of the lock's time, so that another one fits in.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
/// Giving the lock back may take so long when the manager ends.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// A store that broke off the watch is asked again after so long.
const WATCH_RETRY: Duration = Duration::from_millis(300);
/// No wait is longer: a suspended machine's timers don't know of the clock that counts.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The session with the store, which an attempt that is given up in its middle leaves as the store knows it.
type SharedSession = Arc<Mutex<Option<Session>>>;
/// An attempt under way, with the time when it began.
type Attempt = AbortOnDropHandle<(Moment, Option<Holding>)>;

/// Takes part in the election until it is stopped, and gives the lock back then.
pub(crate) async fn campaign(
    store: Arc<dyn Store>,
    claim: Claim,
    leadership: Leadership,
    stop: CancellationToken,
) {
    let session = SharedSession::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    let watching =
        AbortOnDropHandle::new(tokio::spawn(watch(store.clone(), claim.key.clone(), tell)));
    let mut election = Election::new(claim.value.clone());
    let mut attempt: Option<Attempt> = None;
    tracing::info!("Leader Election: Cluster leadership lost");
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            Some(holder) = told.recv() => Event::Seen(holder),
            (asked_at, holding) = ended(&mut attempt) => Event::Answer { asked_at, holding },
            () = sleep_until(election.next_wake()) => Event::Woken,
        };
        let actions = election.step(clock::now(), event);
        // Before anything else happens: who asks hears of it at once.
        leadership.set(election.standing());
        for action in actions {
            match action {
                Action::Attempt => {
                    let made = make(store.clone(), claim.clone(), session.clone());
                    attempt = Some(AbortOnDropHandle::new(tokio::spawn(made)));
                }
                Action::Acquired => tracing::info!("Leader Election: Cluster leadership acquired"),
                Action::Lost => tracing::info!("Leader Election: Cluster leadership lost"),
                Action::Elected(leader) => tracing::info!("New leader elected: {leader}"),
            }
        }
    }
    leadership.set(crate::leadership::Standing::default());
    drop((attempt, watching));
    let Some(session) = session.lock().await.take() else { return };
    match tokio::time::timeout(RELEASE_TIMEOUT, store.release(&claim, session)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!("Leader Election: giving the lock back failed: {error}"),
        Err(_) => tracing::error!("Leader Election: giving the lock back took too long"),
    }
}

/// Waits for the attempt under way; for ever where there is none.
async fn ended(attempt: &mut Option<Attempt>) -> (Moment, Option<Holding>) {
    let Some(made) = attempt else { return std::future::pending().await };
    let ended = made.await;
    *attempt = None;
    // One that panicked told nothing.
    ended.unwrap_or((Moment::ZERO, None))
}

async fn make(
    store: Arc<dyn Store>,
    claim: Claim,
    session: SharedSession,
) -> (Moment, Option<Holding>) {
    let asked_at = clock::now();
    let limit = (claim.ttl / 4).min(ATTEMPT_MAX);
    let mut session = session.lock().await;
    let holding = match tokio::time::timeout(limit, store.hold(&claim, &mut session)).await {
        Ok(Ok(holding)) => Some(holding),
        Ok(Err(error)) => {
            tracing::error!("Leader Election: {error}");
            None
        }
        Err(_) => {
            tracing::error!("Leader Election: the store does not answer");
            None
        }
    };
    (asked_at, holding)
}

async fn sleep_until(moment: Option<Moment>) {
    let left = moment.map_or(SLEEP_MAX, |moment| moment.saturating_sub(clock::now()));
    tokio::time::sleep(left.min(SLEEP_MAX)).await;
}

/// Tells who has the lock, for ever.
async fn watch(store: Arc<dyn Store>, key: String, tell: mpsc::UnboundedSender<Option<String>>) {
    let mut said = String::new();
    loop {
        let mut answered = false;
        let error = store
            .follow_holder(&key, &mut |holder| {
                answered = true;
                // Whoever listened has ended.
                let _ = tell.send(holder);
            })
            .await;
        let error = error.to_string();
        if answered || error != said {
            tracing::error!(
                "Leader Election: watch leader channel closed, the store may be unavailable... ({error})"
            );
        }
        said = error;
        tokio::time::sleep(WATCH_RETRY).await;
    }
}

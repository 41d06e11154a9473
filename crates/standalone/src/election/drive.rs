//! A candidate's life: the store, the clock and the log around [`Election`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
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
/// What came of an attempt, or what went wrong, with the time when it began.
type Made = (Moment, Result<Holding, String>);

/// Takes part in the election until it is stopped, and gives the lock back then.
pub(crate) async fn campaign(
    store: Arc<dyn Store>,
    claim: Claim,
    leadership: Leadership,
    stop: CancellationToken,
) {
    let session = SharedSession::default();
    let (tell, mut told) = watch::channel(None);
    let watching =
        AbortOnDropHandle::new(tokio::spawn(follow(store.clone(), claim.key.clone(), tell)));
    let mut election = Election::new(claim.value.clone());
    let mut attempt: Option<AbortOnDropHandle<Made>> = None;
    let mut is_failing = false;
    tracing::info!("Leader Election: Cluster leadership lost");
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            Ok(()) = told.changed() => Event::Seen(told.borrow_and_update().clone()),
            (asked_at, made) = ended(&mut attempt) => {
                // A store that is away for long is told of once.
                if let Some(error) = made.as_ref().err().filter(|_| !is_failing) {
                    tracing::error!("Leader Election: {error}");
                }
                is_failing = made.is_err();
                Event::Answer { asked_at, holding: made.ok() }
            }
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
async fn ended(attempt: &mut Option<AbortOnDropHandle<Made>>) -> Made {
    let Some(made) = attempt else { return std::future::pending().await };
    let ended = made.await;
    *attempt = None;
    ended.unwrap_or_else(|error| (Moment::ZERO, Err(error.to_string())))
}

async fn make(store: Arc<dyn Store>, claim: Claim, session: SharedSession) -> Made {
    let asked_at = clock::now();
    let limit = (claim.ttl / 4).min(ATTEMPT_MAX);
    let mut session = session.lock().await;
    let made = match tokio::time::timeout(limit, store.hold(&claim, &mut session)).await {
        Ok(made) => made.map_err(|error| error.to_string()),
        Err(_) => Err("the store does not answer".to_owned()),
    };
    (asked_at, made)
}

async fn sleep_until(moment: Option<Moment>) {
    let left = moment.map_or(SLEEP_MAX, |moment| moment.saturating_sub(clock::now()));
    tokio::time::sleep(left.min(SLEEP_MAX)).await;
}

/// Tells who has the lock, for ever.
async fn follow(store: Arc<dyn Store>, key: String, tell: watch::Sender<Option<String>>) {
    let mut said = String::new();
    loop {
        let mut answered = false;
        let error = store
            .follow_holder(&key, &mut |holder| {
                answered = true;
                tell.send_replace(holder);
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

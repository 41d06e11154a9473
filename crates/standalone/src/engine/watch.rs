//! Keeps the picture of one engine true: reaches it, reads everything once, then follows its events, pings it, and looks
//! at everything again now and then.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method};
use rand::Rng as _;

use super::events::{EngineEvent, EventHub, Origin};
use super::follow::follow;
use super::read::{Depth, read_all, read_specs, refresh_specs};
use super::{Bounds, Engine, EngineError, Health};

/// How often an engine is asked whether it is there, how soon again where it was not, and how long it has for an answer:
/// three failures in a row are noticed within five seconds.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_AGAIN: Duration = Duration::from_millis(300);
const PING: Bounds = Bounds { time: Duration::from_secs(1), bytes: 64 << 10 };
/// How often an engine that was never reached is tried.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Events of so long before an engine that does not tell its time was asked for it are taken once more.
const OVERLAP: Duration = Duration::from_secs(1);

/// Watches until it is dropped.
pub(super) async fn run(engine: Arc<Engine>, events: Arc<EventHub>) {
    loop {
        let since = loop {
            match reach(&engine).await {
                Ok(since) => break since,
                Err(error) => {
                    tracing::debug!(addr = engine.addr(), %error, "Failed to validate pending node");
                    engine.change(|picture| {
                        picture.error = error.to_string();
                        picture.updated_at = SystemTime::now();
                    });
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        };
        tracing::info!("Registered Engine {} at {}", engine.name(), engine.addr());
        tell(&engine, &events, "engine_connect");
        // Each ends only when another engine answers at the address.
        tokio::select! {
            () = ping(&engine, &events) => {}
            () = follow(&engine, &events, since) => {}
            () = refresh(&engine) => {}
        }
        tell(&engine, &events, "engine_disconnect");
        let old = engine.id();
        engine.change(|picture| picture.begin_anew());
        tracing::error!(
            "Engine (ID: {old}, Addr: {}) shows up with another ID. It is added anew.",
            engine.addr()
        );
    }
}

/// Reads what the engine is and has, for the first time; the moment, in nanoseconds of its clock, when that began.
async fn reach(engine: &Engine) -> Result<u64, EngineError> {
    let before = SystemTime::now();
    let specs = read_specs(engine).await?;
    let since = specs.system_time.unwrap_or(before - OVERLAP);
    engine.change(|picture| {
        picture.specs = Arc::new(specs);
        picture.error.clear();
        picture.updated_at = SystemTime::now();
    });
    read_all(engine, Depth::Full).await?;
    engine.change(|picture| {
        picture.health = Health::Healthy;
        picture.failures = 0;
    });
    Ok(nanoseconds(since))
}

/// Asks the engine every second whether it is there.
async fn ping(engine: &Arc<Engine>, events: &EventHub) {
    let mut was_healthy = true;
    loop {
        let is_suspect = engine.picture().failures > 0;
        tokio::time::sleep(if is_suspect { PING_AGAIN } else { PING_INTERVAL }).await;
        let answer =
            engine.target().read(Method::GET, "/_ping", HeaderMap::new(), None, PING).await;
        engine.note(&answer);
        match (was_healthy, engine.is_healthy()) {
            (true, false) => tell(engine, events, "engine_disconnect"),
            (false, true) => {
                // Others may have been given what was here.
                if look(engine, Depth::Full).await.is_err() {
                    return;
                }
                tell(engine, events, "engine_reconnect");
            }
            _ => {}
        }
        was_healthy = engine.is_healthy();
    }
}

/// Looks at everything now and then: events tell all, as long as an engine tells all its events.
async fn refresh(engine: &Engine) {
    let (shortest, longest) = engine.options().refresh;
    loop {
        let span = rand::rng().random_range(shortest..=longest.max(shortest));
        tokio::time::sleep(span).await;
        if engine.is_healthy() && look(engine, Depth::Changed).await.is_err() {
            return;
        }
    }
}

/// The engine at the address is another one.
struct Replaced;

/// Reads everything again.
async fn look(engine: &Engine, depth: Depth) -> Result<(), Replaced> {
    let read = match refresh_specs(engine).await {
        Ok(()) => read_all(engine, depth).await,
        failed => failed,
    };
    match read {
        Ok(()) => engine.change(|picture| picture.updated_at = SystemTime::now()),
        Err(EngineError::Replaced { .. }) => return Err(Replaced),
        Err(error) => {
            tracing::debug!(addr = engine.addr(), %error, "Engine refresh failed");
            engine.note::<()>(&Err(error));
        }
    }
    Ok(())
}

/// Tells an event of the manager's own.
fn tell(engine: &Arc<Engine>, events: &EventHub, action: &str) {
    let now = nanoseconds(SystemTime::now());
    let event = serde_json::json!({
        "status": action, "from": "swarm", "Type": "swarm", "Action": action,
        "Actor": {"ID": "", "Attributes": {}},
        "time": now / 1_000_000_000, "timeNano": now,
    });
    let bytes = event.to_string().len();
    let origin = Arc::new(Origin::of(engine));
    events.tell(EngineEvent { origin, event: Arc::new(event), bytes });
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

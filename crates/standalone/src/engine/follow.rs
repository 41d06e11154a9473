//! Follows the events of one engine: what each says has changed is asked for, and who follows all engines is told.
//!
//! A stream that broke is taken up at its last event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use http::{Method, Request};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::codec::{FramedRead, LinesCodec};

use super::events::{EngineEvent, EventHub, Origin, nanoseconds};
use super::read::{read_container, read_images, read_networks, read_volumes, refresh_specs};
use super::{Engine, EngineError};

/// After this a stream that ended is begun anew.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// An event may be as long.
pub(crate) const EVENT_BYTES_MAX: usize = 64 << 10;
/// More events than so many a second are taken more slowly: others have engines, too.
const EVENTS_PER_SECOND_MAX: u32 = 2000;
/// No engine has so many events in a nanosecond.
const TOLD_MAX: usize = 64;
/// Events that name a container, and change nothing of it.
const IDLE_ACTIONS: [&str; 11] = [
    "top",
    "resize",
    "export",
    "exec_create",
    "exec_start",
    "exec_detach",
    "attach",
    "detach",
    "extract-to-dir",
    "copy",
    "archive-path",
];

/// What was taken last: a stream that is taken up begins with events of that very moment, which may have been told.
#[derive(Debug)]
struct Mark {
    at: u64,
    told: BTreeSet<String>,
}

impl Mark {
    /// Whether the event is new; it is not from then on.
    fn is_new(&mut self, event: &Value, text: &str) -> bool {
        let at = nanoseconds(event);
        if at > self.at {
            (self.at, self.told) = (at, BTreeSet::new());
        }
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        at < self.at || self.told.insert(text.to_owned())
    }
}

/// Follows until another engine answers at the address; `since` is in nanoseconds of the engine's clock.
pub(super) async fn follow(engine: &Arc<Engine>, events: &EventHub, since: u64) {
    let mut mark = Mark { at: since, told: BTreeSet::new() };
    loop {
        let error = match stream(engine, events, &mut mark).await {
            Err(EngineError::Replaced { .. }) => return,
            Err(error) => error,
            Ok(()) => EngineError::Unreachable {
                addr: engine.addr().to_owned(),
                problem: "the stream of events ended".to_owned(),
            },
        };
        tracing::error!(
            name = engine.name(), id = engine.id(), %error,
            "error monitoring events, will restart"
        );
        engine.note::<()>(&Err(error));
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn stream(
    engine: &Arc<Engine>,
    events: &EventHub,
    mark: &mut Mark,
) -> Result<(), EngineError> {
    let target = engine.target();
    let since = format!("{}.{:09}", mark.at / 1_000_000_000, mark.at % 1_000_000_000);
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    let uri = format!("/events?since={since}").parse();
    *request.uri_mut() = uri.map_err(|error| target.nonsense(error))?;
    let response = target.send(request).await?;
    if !response.status().is_success() {
        return Err(target.refusal(response).await);
    }
    let body = Body::new(response.into_body()).into_data_stream();
    let body = body.map(|chunk| chunk.map_err(std::io::Error::other));
    let reader = tokio_util::io::StreamReader::new(body);
    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(EVENT_BYTES_MAX));
    let (mut begin, mut taken) = (Instant::now(), 0);
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| match error {
            tokio_util::codec::LinesCodecError::MaxLineLengthExceeded => {
                target.nonsense("an event is larger than any event is")
            }
            tokio_util::codec::LinesCodecError::Io(error) => EngineError::Unreachable {
                addr: engine.addr().to_owned(),
                problem: error.to_string(),
            },
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let event: Value = serde_json::from_str(&line).map_err(|error| target.nonsense(error))?;
        taken += 1;
        if taken >= EVENTS_PER_SECOND_MAX {
            tokio::time::sleep_until(begin + Duration::from_secs(1)).await;
            (begin, taken) = (Instant::now(), 0);
        }
        if mark.is_new(&event, &line) {
            take(engine, &event).await?;
            let origin = Arc::new(Origin::of(engine));
            events.tell(EngineEvent { origin, event: Arc::new(event), bytes: line.len() });
        }
    }
    Ok(())
}

/// Reads what an event says has changed; what can't be read is left to the next look at everything.
async fn take(engine: &Engine, event: &Value) -> Result<(), EngineError> {
    let action = event["Action"].as_str().unwrap_or_default();
    let action = action.split(':').next().unwrap_or_default();
    let id = event["Actor"]["ID"].as_str().unwrap_or_default();
    let read = match event["Type"].as_str().unwrap_or_default() {
        "container" if IDLE_ACTIONS.contains(&action) => Ok(()),
        "container" => match read_container(engine, id).await {
            Ok(()) if action == "commit" => read_images(engine).await,
            read => read,
        },
        "image" => read_images(engine).await,
        "network" => read_networks(engine).await,
        "volume" => read_volumes(engine).await,
        "daemon" => refresh_specs(engine).await,
        _ => Ok(()),
    };
    match read {
        Err(error @ (EngineError::Unreachable { .. } | EngineError::Replaced { .. })) => Err(error),
        Err(error) => {
            tracing::error!(addr = engine.addr(), action, id, %error, "a change could not be read");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_that_is_taken_up_tells_nothing_twice() {
        let mut mark = Mark { at: 5, told: BTreeSet::new() };
        let mut is_new = |at: u64, text: &str| mark.is_new(&json!({"timeNano": at}), text);
        for (at, text, expect) in [
            (5, "a", true),
            (7, "b", true),
            (7, "c", true),
            // Taken up at 7.
            (7, "b", false),
            (7, "c", false),
            (7, "d", true),
            (8, "b", true),
            // A clock that was set back.
            (6, "e", true),
        ] {
            assert_eq!(is_new(at, text), expect, "{at} {text}");
        }
    }
}

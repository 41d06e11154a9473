//! What happens on all engines, as one stream, which can be taken up where it broke off.
//!
//! With `since` the engines are asked for what they remember, beside what the manager does. Whoever asks follows what is
//! new before that, so nothing is missed in between, and what comes both ways is told once.

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::IntoResponse as _;
use futures::StreamExt as _;
use http::{HeaderMap, Method, header};
use serde_json::{Value, json};

use super::Manager;
use super::event_filter::is_wanted;
use super::query::Query;
use super::reply::{Failure, Reply};
use crate::engine::{Bounds, EVENT_BYTES_MAX, Engine, EngineError, EngineEvent, Origin};
use crate::text::parse_rfc3339;

/// What an engine remembers: 256 events of Docker's.
const REMEMBERED: Bounds = Bounds { time: Duration::from_secs(5), bytes: 64 * EVENT_BYTES_MAX };
/// All that is told again may take so many bytes.
const REPLAY_BYTES_MAX: usize = 64 << 20;
/// So many engines are asked at a time.
const ENGINES_ASKED: usize = 32;

/// Follows the events of all engines from now on, or from the time asked for.
pub(super) async fn follow(manager: &Manager, query: &Query) -> Reply {
    let (since, until) = (moment(query.text("since"))?, moment(query.text("until"))?);
    let filters = query.filters()?;
    let (recent, following) = manager.cluster.events.follow();
    let replayed = match since {
        None => Vec::new(),
        Some(since) => {
            let until = until.unwrap_or(u64::MAX);
            replay(manager, since, until, recent).await?
        }
    };
    let told: HashSet<u64> = replayed.iter().map(fingerprint).collect();
    let live = futures::stream::unfold(following, |mut following| async {
        Some((following.next().await?, following))
    });
    let live = live.filter(move |event| {
        let is_new = !told.contains(&fingerprint(event));
        async move { is_new }
    });
    let live = live.take_until(ended(until));
    let told = futures::stream::iter(replayed).chain(live).filter_map(move |event| {
        let event = told_event(&event);
        let text = is_wanted(&filters, &event).then(|| format!("{event}\n"));
        async move { text.map(Ok::<_, Infallible>) }
    });
    let body = Body::from_stream(told);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Waits until then.
async fn ended(until: Option<u64>) {
    let Some(until) = until else { return std::future::pending().await };
    let at = UNIX_EPOCH + Duration::from_nanos(until);
    tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await;
}

/// Reads seconds, or seconds and nanoseconds, into nanoseconds; none for no time.
fn moment(text: &str) -> Result<Option<u64>, Failure> {
    let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{rest:0<9}");
    let number = |text: &str| {
        let parsed: Result<i64, _> = text.parse();
        parsed.map_err(|_| {
            Failure::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
        })
    };
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = u64::try_from(number(seconds)?).ok().filter(|seconds| *seconds > 0);
    let nanoseconds = u64::try_from(number(nanoseconds.get(..9).unwrap_or("x"))?);
    Ok(seconds.map(|seconds| {
        seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.unwrap_or_default())
    }))
}

fn fingerprint(event: &EngineEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&event.origin.addr, event.event.to_string()).hash(&mut hasher);
    hasher.finish()
}

/// What happened in that span, as far as the engines and the manager remember, in the order of its times.
async fn replay(
    manager: &Manager,
    since: u64,
    until: u64,
    recent: Vec<EngineEvent>,
) -> Result<Vec<EngineEvent>, Failure> {
    let engines = manager.cluster.engines().into_iter().filter(|engine| engine.is_healthy());
    let mut answers = futures::stream::iter(engines)
        .map(|engine| async move {
            let remembered = remembered(&engine, since, until).await;
            (engine, remembered)
        })
        .buffer_unordered(ENGINES_ASKED);
    let mut all = recent;
    let mut bytes = 0;
    while let Some((engine, remembered)) = answers.next().await {
        // What an engine that can't be asked told before, the manager remembers.
        let remembered = remembered.unwrap_or_else(|error| {
            tracing::warn!(addr = engine.addr(), %error, "an engine does not tell what happened");
            Vec::new()
        });
        bytes += remembered.iter().map(|event| event.bytes).sum::<usize>();
        if bytes > REPLAY_BYTES_MAX {
            return Err(Failure::internal("too much happened since then: ask for less"));
        }
        all.extend(remembered);
    }
    all.retain(|event| (since..=until).contains(&event.at()));
    all.sort_by_key(EngineEvent::at);
    let mut told = HashSet::new();
    all.retain(|event| told.insert(fingerprint(event)));
    Ok(all)
}

/// What one engine remembers.
async fn remembered(
    engine: &Arc<Engine>,
    since: u64,
    until: u64,
) -> Result<Vec<EngineEvent>, EngineError> {
    // Until now, by the engine's own clock: it would go on telling otherwise.
    let info: Value = engine.target().get("/info", REMEMBERED).await?;
    let now = info["SystemTime"].as_str().and_then(parse_rfc3339).unwrap_or_else(SystemTime::now);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let until = until.min(u64::try_from(now).unwrap_or(u64::MAX));
    if since > until {
        return Ok(Vec::new());
    }
    let time = |at: u64| format!("{}.{:09}", at / 1_000_000_000, at % 1_000_000_000);
    let path = format!("/events?since={}&until={}", time(since), time(until));
    let bytes =
        engine.target().read(Method::GET, &path, HeaderMap::new(), None, REMEMBERED).await?;
    let origin = Arc::new(Origin::of(engine));
    let events = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
    let events = events.map_while(Result::ok).map(|event| EngineEvent {
        origin: origin.clone(),
        bytes: event.to_string().len(),
        event: Arc::new(event),
    });
    Ok(events.collect())
}

/// An engine's event, with the engine in it.
fn told_event(event: &EngineEvent) -> Value {
    let EngineEvent { origin, event, .. } = event;
    let Origin { name, id, addr, ip } = &**origin;
    let mut told = match &**event {
        Value::Object(_) => Value::clone(event),
        _ => json!({}),
    };
    let from = told["from"].as_str().unwrap_or_default();
    told["from"] = format!("{from} node:{name}").into();
    let attributes = [("node.addr", addr), ("node.id", id), ("node.ip", ip), ("node.name", name)];
    if !told["Actor"]["Attributes"].is_object() {
        let id = told["Actor"]["ID"].as_str().unwrap_or_default();
        told["Actor"] = json!({"ID": id, "Attributes": {}});
    }
    for (key, value) in attributes {
        told["Actor"]["Attributes"][key] = value.as_str().into();
    }
    told["node"] = json!({"Name": name, "Id": id, "Addr": addr, "Ip": ip});
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_seconds_and_parts_of_them() {
        for (text, expect) in [
            ("", Ok(None)),
            ("0", Ok(None)),
            ("-5", Ok(None)),
            ("12", Ok(Some(12_000_000_000))),
            ("12.5", Ok(Some(12_500_000_000))),
            ("12.000000001", Ok(Some(12_000_000_001))),
            ("x", Err("strconv.ParseInt: parsing \"x\": invalid syntax")),
            ("1.x", Err("strconv.ParseInt: parsing \"x00000000\": invalid syntax")),
            ("99999999999999", Ok(Some(u64::MAX))),
        ] {
            let read = moment(text).map_err(|failure| failure.message);
            assert_eq!(read, expect.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn events_name_their_engine() {
        let [name, id, addr, ip] = ["n", "I|a:1", "a:1", "a"].map(str::to_owned);
        let origin = Arc::new(Origin { name, id, addr, ip });
        let told = |event: Value| {
            told_event(&EngineEvent { origin: origin.clone(), event: Arc::new(event), bytes: 0 })
        };
        let event =
            told(json!({"from": "busybox", "Actor": {"ID": "0", "Attributes": {"x": "1"}}}));
        assert_eq!(event["from"], "busybox node:n");
        let expect = json!({"x": "1", "node.addr": "a:1", "node.id": "I|a:1", "node.ip": "a",
            "node.name": "n"});
        assert_eq!(event["Actor"], json!({"ID": "0", "Attributes": expect}));
        assert_eq!(event["node"], json!({"Name": "n", "Id": "I|a:1", "Addr": "a:1", "Ip": "a"}));
        // Lies are no reason to fall over.
        for lie in [json!(1), json!([]), json!({"Actor": 5}), json!({"Actor": {"Attributes": 5}})] {
            assert_eq!(told(lie)["Actor"]["Attributes"]["node.name"], "n");
        }
    }
}

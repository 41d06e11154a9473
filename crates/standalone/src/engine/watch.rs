//! Keeps the picture of one engine true: reaches it, reads everything once, then follows its events and pings it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::broadcast;

use super::{Engine, EngineError, EngineEvent, Health, ImageRecord, Record, Specs};

/// How often an engine is asked whether it is there, how soon again where it was not, and how long it has for an answer:
/// three failures in a row are noticed within five seconds.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_AGAIN: Duration = Duration::from_millis(300);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an engine that was never reached is tried.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// For answers that engines make from memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How many containers are asked for at a time.
const INSPECTIONS: usize = 8;
/// A line of the stream of events may be as long.
const EVENT_BYTES_MAX: usize = 1 << 20;
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

/// Watches until it is dropped.
pub(super) async fn run(engine: Arc<Engine>, events: broadcast::Sender<EngineEvent>) {
    while let Err(error) = reach(&engine).await {
        tracing::debug!(addr = engine.addr(), %error, "Failed to validate pending node");
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    tracing::info!("Registered Engine {} at {}", engine.name(), engine.addr());
    tell(&engine, &events, "engine_connect");
    tokio::join!(ping(&engine, &events), follow(&engine, &events));
}

/// Reads what the engine is, for the first time.
async fn reach(engine: &Engine) -> Result<(), EngineError> {
    let specs = read_specs(engine).await;
    engine.change(|picture| {
        picture.error = specs.as_ref().err().map(ToString::to_string).unwrap_or_default();
        picture.updated_at = SystemTime::now();
    });
    let specs = specs?;
    engine.change(|picture| picture.specs = Arc::new(specs));
    read_all(engine).await?;
    engine.change(|picture| {
        picture.health = Health::Healthy;
        picture.failures = 0;
    });
    Ok(())
}

async fn read_specs(engine: &Engine) -> Result<Specs, EngineError> {
    let info: Value = engine.target().get("/info", ANSWER_TIMEOUT).await?;
    Specs::read(engine.addr(), &info)
        .map_err(|problem| EngineError::Nonsense { addr: engine.addr().to_owned(), problem })
}

/// Reads everything that the engine has.
async fn read_all(engine: &Engine) -> Result<(), EngineError> {
    let summaries: Vec<Value> =
        engine.target().get("/containers/json?all=1", ANSWER_TIMEOUT).await?;
    let read = futures::stream::iter(summaries)
        .map(|summary| inspect(engine, summary))
        .buffer_unordered(INSPECTIONS);
    let mut records = imbl::OrdMap::new();
    let mut read = std::pin::pin!(read);
    while let Some(record) = read.next().await {
        // One that went away meanwhile is not missed.
        if let Some(record) = record? {
            records.insert(record.container.id.clone(), record);
        }
    }
    engine.change(|picture| picture.containers = records);
    read_images(engine).await?;
    read_networks(engine).await?;
    read_volumes(engine).await
}

async fn inspect(engine: &Engine, summary: Value) -> Result<Option<Record>, EngineError> {
    let id = summary["Id"].as_str().unwrap_or_default();
    let cpus = engine.picture().specs.cpus;
    match engine.target().get(&format!("/containers/{id}/json"), ANSWER_TIMEOUT).await {
        Ok(details) => Ok(Some(Record::read(summary, details, cpus))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads one container anew.
pub(crate) async fn read_container(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let filters = serde_json::json!({ "id": [id] }).to_string();
    let filters: String = url_encoded(&filters);
    let path = format!("/containers/json?all=1&filters={filters}");
    let summaries: Vec<Value> = engine.target().get(&path, ANSWER_TIMEOUT).await?;
    let summary = summaries.into_iter().find(|summary| summary["Id"] == id);
    let record = match summary {
        Some(summary) => inspect(engine, summary).await?,
        None => None,
    };
    engine.change(|picture| {
        match record {
            Some(record) => picture.containers.insert(id.to_owned(), record),
            None => picture.containers.remove(id),
        };
        picture.updated_at = SystemTime::now();
    });
    Ok(())
}

pub(crate) async fn read_images(engine: &Engine) -> Result<(), EngineError> {
    let images: Vec<Value> = engine.target().get("/images/json?all=1", ANSWER_TIMEOUT).await?;
    let images = images.into_iter().map(ImageRecord::read).collect();
    engine.change(|picture| picture.images = Arc::new(images));
    Ok(())
}

pub(crate) async fn read_networks(engine: &Engine) -> Result<(), EngineError> {
    let networks: Vec<Value> = engine.target().get("/networks", ANSWER_TIMEOUT).await?;
    engine.change(|picture| picture.networks = Arc::new(networks));
    Ok(())
}

pub(crate) async fn read_volumes(engine: &Engine) -> Result<(), EngineError> {
    let answer: Value = engine.target().get("/volumes", ANSWER_TIMEOUT).await?;
    let volumes = answer["Volumes"].as_array().cloned().unwrap_or_default();
    engine.change(|picture| picture.volumes = Arc::new(volumes));
    Ok(())
}

/// Asks the engine every second whether it is there.
async fn ping(engine: &Arc<Engine>, events: &broadcast::Sender<EngineEvent>) {
    let mut was_healthy = true;
    loop {
        let is_suspect = engine.picture().failures > 0;
        tokio::time::sleep(if is_suspect { PING_AGAIN } else { PING_INTERVAL }).await;
        let answer = bounded(engine, ping_once(engine)).await;
        engine.note(&answer);
        match (was_healthy, engine.is_healthy()) {
            (true, false) => tell(engine, events, "engine_disconnect"),
            (false, true) => {
                // Others may have been given what was here.
                if let Err(error) = read_all(engine).await {
                    tracing::debug!(addr = engine.addr(), %error, "Engine refresh failed");
                }
                tell(engine, events, "engine_reconnect");
            }
            _ => {}
        }
        was_healthy = engine.is_healthy();
    }
}

async fn ping_once(engine: &Engine) -> Result<serde::de::IgnoredAny, EngineError> {
    let response = engine.target().send(request("/_ping")).await?;
    // Whatever it says, somebody is there.
    drop(response);
    Ok(serde::de::IgnoredAny)
}

async fn bounded<T>(
    engine: &Engine,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    let silent = || Err(EngineError::Silent { addr: engine.addr().to_owned() });
    tokio::time::timeout(PING_TIMEOUT, call).await.unwrap_or_else(|_| silent())
}

/// Follows the engine's events, from where the last stream ended.
async fn follow(engine: &Arc<Engine>, events: &broadcast::Sender<EngineEvent>) {
    // What happened while everything was read comes again; reading a container twice does no harm.
    let mut since = nanoseconds(SystemTime::now()).saturating_sub(1_000_000_000);
    loop {
        if let Err(error) = stream(engine, events, &mut since).await {
            tracing::error!(
                name = engine.name(), id = engine.id(), %error,
                "error monitoring events, will restart"
            );
            engine.note::<()>(&Err(error));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn stream(
    engine: &Arc<Engine>,
    events: &broadcast::Sender<EngineEvent>,
    since: &mut u128,
) -> Result<(), EngineError> {
    let path = format!("/events?since={}.{:09}", *since / 1_000_000_000, *since % 1_000_000_000);
    let response = engine.target().send(request(&path)).await?;
    let mut body = response.into_body();
    let mut buffer = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| EngineError::Unreachable {
            addr: engine.addr().to_owned(),
            problem: error.to_string(),
        })?;
        let Some(data) = frame.data_ref() else { continue };
        buffer.extend_from_slice(data);
        let mut values = serde_json::Deserializer::from_slice(&buffer).into_iter::<Value>();
        let mut read = Vec::new();
        while let Some(Ok(event)) = values.next() {
            read.push(event);
        }
        let used = values.byte_offset();
        buffer.drain(..used);
        if buffer.len() > EVENT_BYTES_MAX {
            return Err(EngineError::Nonsense {
                addr: engine.addr().to_owned(),
                problem: "an event is larger than any event is".to_owned(),
            });
        }
        for event in read {
            let at = event["timeNano"].as_u64().map_or(0, u128::from);
            *since = at.max(*since);
            take(engine, &event).await?;
            // Nobody may be listening.
            let _ = events.send(EngineEvent { engine: engine.clone(), event: Arc::new(event) });
        }
    }
    Ok(())
}

/// Reads what an event says has changed.
async fn take(engine: &Engine, event: &Value) -> Result<(), EngineError> {
    let action = event["Action"].as_str().unwrap_or_default();
    let action = action.split(':').next().unwrap_or_default();
    let id = event["Actor"]["ID"].as_str().unwrap_or_default();
    match event["Type"].as_str().unwrap_or_default() {
        "container" if IDLE_ACTIONS.contains(&action) => Ok(()),
        "container" => {
            read_container(engine, id).await?;
            if action == "commit" { read_images(engine).await } else { Ok(()) }
        }
        "image" => read_images(engine).await,
        "network" => read_networks(engine).await,
        "volume" => read_volumes(engine).await,
        "daemon" => {
            let specs = read_specs(engine).await?;
            engine.change(|picture| picture.specs = Arc::new(specs));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Tells an event of the manager's own.
fn tell(engine: &Arc<Engine>, events: &broadcast::Sender<EngineEvent>, action: &str) {
    let now = nanoseconds(SystemTime::now());
    let event = serde_json::json!({
        "status": action, "from": "swarm", "Type": "swarm", "Action": action,
        "Actor": {"ID": "", "Attributes": {}},
        "time": (now / 1_000_000_000) as u64, "timeNano": now as u64,
    });
    // Nobody may be listening.
    let _ = events.send(EngineEvent { engine: engine.clone(), event: Arc::new(event) });
}

fn request(path: &str) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.headers_mut() = HeaderMap::new();
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    request
}

fn nanoseconds(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// For a query's value.
pub(crate) fn url_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

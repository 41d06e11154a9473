//! Images of all engines: the list, pulls everywhere, removals everywhere, and what any engine that has one can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use futures::StreamExt as _;
use futures::future::join_all;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, LinesCodec};

use super::Manager;
use super::containers::forward;
use super::query::Query;
use super::reply::{Failure, Reply, empty, json as json_reply};
use crate::engine::{Engine, ImageRecord, read_images, url_encoded};
use crate::scheduler::is_same_image;

/// An engine may take so long to remove an image.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(120);
/// Messages of pulls that may wait for the client.
const MESSAGES_WAITING_MAX: usize = 64;
/// A message of an engine's may be as long.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

pub(super) fn list(manager: &Manager, query: &Query) -> Reply {
    let filters = query.filters()?;
    let dangling = filters
        .get("dangling")
        .map(|values| values.iter().any(|value| value == "true" || value == "1"));
    let mut merged: BTreeMap<String, Value> = BTreeMap::new();
    for engine in manager.cluster.engines() {
        let on_node = |wanted: &str| engine.name() == wanted || engine.id() == wanted;
        if !filters.admits("node", on_node) {
            continue;
        }
        for record in engine.picture().images.iter() {
            let is_dangling = record.image.tags.is_empty() && record.image.digests.is_empty();
            let is_named =
                |wanted: &str| record.image.tags.iter().any(|tag| is_reference(tag, wanted));
            let wanted = dangling.is_none_or(|dangling| dangling == is_dangling)
                && (query.flag("all") || dangling.is_some() || !is_dangling)
                && filters.admits("reference", is_named)
                && filters.labels(&labels(&record.summary));
            if wanted {
                merge(&mut merged, record);
            }
        }
    }
    let mut images: Vec<Value> = merged.into_values().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image["Created"].as_i64()));
    json_reply(&images)
}

fn labels(summary: &Value) -> BTreeMap<String, String> {
    let labels = summary["Labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// `name`, `name:tag`, either with asterisks.
fn is_reference(tag: &str, wanted: &str) -> bool {
    let pattern = format!("^{}$", regex::escape(wanted).replace(r"\*", "[^/]*"));
    let bare = tag.rsplit_once(':').map_or(tag, |(name, _)| name);
    regex::Regex::new(&pattern).is_ok_and(|regex| regex.is_match(tag) || regex.is_match(bare))
}

/// One image on several engines is one image, with all its names.
fn merge(merged: &mut BTreeMap<String, Value>, record: &ImageRecord) {
    let Some(known) = merged.get_mut(&record.image.id) else {
        merged.insert(record.image.id.clone(), Value::clone(&record.summary));
        return;
    };
    for field in ["RepoTags", "RepoDigests"] {
        let texts = |image: &Value| -> BTreeSet<String> {
            let list = image[field].as_array().into_iter().flatten();
            list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let all: Vec<String> = texts(known).union(&texts(&record.summary)).cloned().collect();
        known[field] = all.into();
    }
}

/// Engines that have the image.
fn holders(manager: &Manager, name: &str) -> Vec<(Arc<Engine>, Vec<ImageRecord>)> {
    let on_engine = |engine: Arc<Engine>| {
        let images: Vec<ImageRecord> = engine
            .picture()
            .images
            .iter()
            .filter(|record| record.image.is_named(name))
            .cloned()
            .collect();
        (!images.is_empty()).then_some((engine, images))
    };
    manager.cluster.engines().into_iter().filter_map(on_engine).collect()
}

pub(super) async fn pass(
    manager: &Manager,
    name: &str,
    verb: &str,
    request: Request<Body>,
) -> Reply {
    let holders = holders(manager, name);
    let healthy = holders.iter().find(|(engine, _)| engine.is_healthy());
    let Some((engine, _)) = healthy.or(holders.first()) else {
        return Err(Failure::not_found(format!("No such image: {name}")));
    };
    forward(engine, request, &format!("/images/{name}/{verb}")).await
}

pub(super) async fn tag(manager: &Manager, name: &str, query: &str) -> Reply {
    let holders = holders(manager, name);
    if holders.is_empty() {
        return Err(Failure::not_found(format!("No such image: {name}")));
    }
    let on_each = holders.iter().map(|(engine, _)| async move {
        let path = format!("/images/{name}/tag{query}");
        let answer: Result<Value, _> =
            engine.target().ask(Method::POST, &path, HeaderMap::new(), None, REMOVE_TIMEOUT).await;
        engine.note(&answer);
        answer?;
        read_images(engine).await
    });
    all_or_lines(holders.iter().map(|(engine, _)| engine), join_all(on_each).await)?;
    empty(StatusCode::CREATED)
}

pub(super) async fn remove(manager: &Manager, name: &str, query: &Query) -> Reply {
    let holders = holders(manager, name);
    if holders.is_empty() {
        return Err(Failure::not_found(format!("No such image {name}")));
    }
    let force = if query.flag("force") { "?force=1" } else { "" };
    let on_each = holders.iter().map(|(engine, images)| async move {
        let mut removed = Vec::new();
        for record in images {
            // By one of its names where one was meant, else the image itself.
            let own = record.image.tags.iter().find(|tag| is_same_image(tag, name));
            let wanted = own.map_or(name, |own| own.as_str());
            let path = format!("/images/{wanted}{force}");
            let answer: Result<Vec<Value>, _> = engine
                .target()
                .ask(Method::DELETE, &path, HeaderMap::new(), None, REMOVE_TIMEOUT)
                .await;
            engine.note(&answer);
            removed.extend(answer?);
        }
        read_images(engine).await?;
        Ok(removed)
    });
    let removed = all_or_lines(holders.iter().map(|(engine, _)| engine), join_all(on_each).await)?;
    json_reply(&removed.concat())
}

/// All results, or what went wrong where, a line for each engine.
pub(super) fn all_or_lines<'e, T>(
    engines: impl Iterator<Item = &'e Arc<Engine>>,
    results: Vec<Result<T, crate::engine::EngineError>>,
) -> Result<Vec<T>, Failure> {
    let mut lines = Vec::new();
    let mut fine = Vec::new();
    for (engine, result) in engines.zip(results) {
        match result {
            Ok(value) => fine.push(value),
            Err(error) => lines.push(format!("{}: {error}", engine.name())),
        }
    }
    if lines.is_empty() { Ok(fine) } else { Err(Failure::internal(lines.join("\n"))) }
}

/// Pulls an image to every engine that answers, and tells how each fares.
pub(super) async fn pull(manager: &Manager, query: &Query, headers: &HeaderMap) -> Reply {
    let image = query.text("fromImage").to_owned();
    if image.is_empty() {
        return Err(Failure::bad_request(
            "only images of registries can be pulled: fromImage is missing",
        ));
    }
    let reference = match query.text("tag") {
        "" if image.contains('@')
            || image.rsplit('/').next().is_some_and(|end| end.contains(':')) =>
        {
            image
        }
        "" => format!("{image}:latest"),
        digest if digest.contains(':') => format!("{image}@{digest}"),
        tag => format!("{image}:{tag}"),
    };
    let mut auth = HeaderMap::new();
    if let Some(value) = headers.get("X-Registry-Auth") {
        auth.insert("X-Registry-Auth", value.clone());
    }
    let engines: Vec<_> =
        manager.cluster.engines().into_iter().filter(|engine| engine.is_healthy()).collect();
    if engines.is_empty() {
        return Err(Failure::internal("No healthy node available in the cluster"));
    }
    let (lines, told) = mpsc::channel(MESSAGES_WAITING_MAX);
    tokio::spawn(async move {
        let mut pulls = Vec::new();
        for engine in &engines {
            pulls.push(pull_on(engine, &reference, &auth, &lines));
        }
        let failed = join_all(pulls).await.into_iter().flatten().next_back();
        if let Some(error) = failed {
            let line = json!({"error": error, "errorDetail": {"code": 1, "message": error}});
            // A client that has gone needs no last word.
            let _ = lines.send(line).await;
        }
    });
    let told = tokio_stream::wrappers::ReceiverStream::new(told);
    let told = told.map(|line| Ok::<_, std::convert::Infallible>(format!("{line}\r\n")));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(told)).into_response())
}

/// Pulls on one engine; what went wrong, if anything did.
async fn pull_on(
    engine: &Engine,
    reference: &str,
    auth: &HeaderMap,
    lines: &mpsc::Sender<Value>,
) -> Option<String> {
    let told = Told { head: format!("Pulling {reference}..."), node: engine.name(), lines };
    told.say(&told.head, None).await;
    let result = pull_lines(engine, reference, auth, &told).await;
    match &result {
        Err(error) => told.say(&format!("{} : {error}", told.head), None).await,
        Ok(()) => told.say(&told.head, None).await,
    };
    result.err()
}

/// Messages about one engine, on their way to the client.
struct Told<'l> {
    head: String,
    node: String,
    lines: &'l mpsc::Sender<Value>,
}

impl Told<'_> {
    /// Whether there is still somebody to tell.
    async fn say(&self, status: &str, of: Option<&Value>) -> bool {
        let mut line = json!({"status": status, "id": self.node});
        for field in ["progressDetail", "progress"] {
            if let Some(value) = of.and_then(|of| of.get(field)) {
                line[field] = value.clone();
            }
        }
        self.lines.send(line).await.is_ok()
    }
}

async fn pull_lines(
    engine: &Engine,
    reference: &str,
    auth: &HeaderMap,
    told: &Told<'_>,
) -> Result<(), String> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::POST;
    *request.headers_mut() = auth.clone();
    let path = format!("/images/create?fromImage={}", url_encoded(reference));
    *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let answer = engine.target().send(request).await;
    engine.note(&answer);
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Body::new(answer.into_body()).into_data_stream();
    let body = body.map(|chunk| chunk.map_err(std::io::Error::other));
    let reader = tokio_util::io::StreamReader::new(body);
    let mut messages = FramedRead::new(reader, LinesCodec::new_with_max_length(MESSAGE_BYTES_MAX));
    while let Some(line) = messages.next().await {
        let line = line.map_err(|error| error.to_string())?;
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let refused = message.get("message").filter(|_| !status.is_success());
        if let Some(error) = message.get("error").or(refused) {
            return Err(error.as_str().unwrap_or_default().to_owned());
        }
        let text = message["status"].as_str().unwrap_or_default();
        if !told.say(&format!("{} : {text}", told.head), Some(&message)).await {
            return Err("the client has gone".to_owned());
        }
    }
    Ok(())
}

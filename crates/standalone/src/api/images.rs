//! Images of all engines: the list, tags and removals everywhere, and what any engine that has one can tell or give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::future::join_all;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;

use super::Manager;
use super::forward::{forward, path_encoded};
use super::query::{Filters, Query};
use super::reply::{Failure, Reply, empty, json as json_reply};
use crate::engine::{Engine, ImageRecord, read_images};
use crate::scheduler::is_same_image;

/// An engine may take so long to remove an image.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn list(manager: &Manager, query: &Query) -> Reply {
    let filters = query.filters()?;
    let dangling = filters
        .get("dangling")
        .map(|values| values.iter().any(|value| value == "true" || value == "1"));
    let before = created_of(manager, &filters, "before")?;
    let since = created_of(manager, &filters, "since")?;
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
            let created = record.summary["Created"].as_i64().unwrap_or_default();
            let wanted = before.is_none_or(|before| created < before)
                && since.is_none_or(|since| created > since)
                && dangling.is_none_or(|dangling| dangling == is_dangling)
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

/// When the image was made that a filter names.
fn created_of(manager: &Manager, filters: &Filters, filter: &str) -> Result<Option<i64>, Failure> {
    let Some([name]) = filters.get(filter) else { return Ok(None) };
    let holders = holders(manager, name);
    let record = holders.first().and_then(|(_, images)| images.first());
    let record = record.ok_or_else(|| {
        Failure::bad_request(format!(
            "Invalid filter: 'type'='{filter}': no such image found: '{name}'"
        ))
    })?;
    Ok(record.summary["Created"].as_i64())
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

/// A name as engines list it: what comes from Docker's own registry has no registry in its name.
fn familiar(name: &str) -> &str {
    let bare = name.strip_prefix("docker.io/").unwrap_or(name);
    bare.strip_prefix("library/").filter(|_| bare.len() < name.len()).unwrap_or(bare)
}

/// Engines that have the image.
fn holders(manager: &Manager, name: &str) -> Vec<(Arc<Engine>, Vec<ImageRecord>)> {
    let name = familiar(name);
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

/// Passes a request on to an engine that has the image.
pub(super) async fn pass(
    manager: &Manager,
    name: &str,
    verb: &str,
    query: &Query,
    request: Request<Body>,
) -> Reply {
    // Which of several tags is pushed comes beside the name.
    let wanted = match query.text("tag") {
        "" => name.to_owned(),
        tag => format!("{name}:{tag}"),
    };
    let wanted = if verb == "push" { wanted } else { name.to_owned() };
    let holders = holders(manager, &wanted);
    let healthy = holders.iter().find(|(engine, _)| engine.is_healthy());
    let Some((engine, _)) = healthy.or(holders.first()) else {
        return Err(Failure::not_found(format!("No such image: {wanted}")));
    };
    forward(engine, request, &format!("/images/{}/{verb}", path_encoded(name))).await
}

/// Several images in one archive, from an engine that has them all.
pub(super) async fn save(manager: &Manager, query: &Query, request: Request<Body>) -> Reply {
    let names = query.all("names");
    let has_all = |engine: &Arc<Engine>| {
        let images = engine.picture().images;
        let has = |name: &String| images.iter().any(|record| record.image.is_named(familiar(name)));
        engine.is_healthy() && names.iter().all(has)
    };
    match manager.cluster.engines().into_iter().find(has_all) {
        Some(engine) if !names.is_empty() => forward(&engine, request, "/images/get").await,
        _ => Err(Failure::not_found(format!(
            "Unable to find a healthy engine containing all images: [{}]",
            names.join(" ")
        ))),
    }
}

pub(super) async fn tag(manager: &Manager, name: &str, query: &str) -> Reply {
    let holders = holders(manager, name);
    if holders.is_empty() {
        return Err(Failure::not_found(format!("No such image: {name}")));
    }
    let on_each = holders.iter().map(|(engine, _)| async move {
        let path = format!("/images/{}/tag{query}", path_encoded(name));
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
            let own = record.image.tags.iter().find(|tag| is_same_image(tag, familiar(name)));
            let wanted = own.map_or(name, |own| own.as_str());
            let path = format!("/images/{}{force}", path_encoded(wanted));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn familiar_names_have_no_registry_of_dockers() {
        for (name, expect) in [
            ("alpine:3", "alpine:3"),
            ("docker.io/library/alpine", "alpine"),
            ("docker.io/team/app", "team/app"),
            ("library/own", "library/own"),
            ("localhost:5000/a", "localhost:5000/a"),
        ] {
            assert_eq!(familiar(name), expect);
        }
    }
}

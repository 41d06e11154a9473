//! Reads what an engine has, and puts it into its picture.
//!
//! What can't be read of one container leaves the others alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Bounds, Engine, EngineError, Health, ImageRecord, Record, Specs, url_encoded};

/// For answers that engines make from memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// What an engine says of one container, or of itself.
const ONE: Bounds = Bounds { time: Duration::from_secs(10), bytes: 2 << 20 };
/// How many containers are asked for at a time.
const INSPECTIONS: usize = 8;
/// So many containers that an engine says nothing of are put up with when all are read.
const UNREADABLE_MAX: usize = 3;
/// Entries that a list may have.
const ENTRIES_MAX: usize = 20_000;

/// Which containers are asked for one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// All.
    Full,
    /// Those that are not listed as they are known.
    Changed,
}

/// What the engine says of itself, and its own time.
pub(super) async fn read_specs(engine: &Engine) -> Result<Specs, EngineError> {
    let info: Value = engine.target().get("/info", ONE).await?;
    Specs::read(engine.addr(), &info).map_err(|problem| engine.target().nonsense(problem))
}

/// Reads the specifications again.
///
/// # Errors
/// [`EngineError::Replaced`], where another engine answers at the address now.
pub(super) async fn refresh_specs(engine: &Engine) -> Result<(), EngineError> {
    let specs = read_specs(engine).await?;
    let mut replaced = None;
    engine.change(|picture| {
        if picture.health != Health::Pending && picture.specs.id != specs.id {
            replaced = Some((picture.specs.id.clone(), specs.id));
        } else {
            picture.specs = Arc::new(specs);
        }
    });
    match replaced {
        None => Ok(()),
        Some((old, new)) => Err(EngineError::Replaced { addr: engine.addr().to_owned(), old, new }),
    }
}

/// Reads everything that the engine has.
pub(crate) async fn read_all(engine: &Engine, depth: Depth) -> Result<(), EngineError> {
    read_containers(engine, depth).await?;
    read_images(engine).await?;
    read_networks(engine).await?;
    read_volumes(engine).await
}

async fn list(engine: &Engine, path: &str) -> Result<Vec<Value>, EngineError> {
    let list: Vec<Value> = engine.target().get(path, ANSWER_TIMEOUT).await?;
    match list.len() > ENTRIES_MAX {
        true => Err(engine.target().nonsense(format!("{} entries in {path}", list.len()))),
        false => Ok(list),
    }
}

async fn read_containers(engine: &Engine, depth: Depth) -> Result<(), EngineError> {
    let listed = list(engine, "/containers/json?all=1").await?;
    let known = engine.picture().containers;
    let ids: BTreeSet<String> = listed.iter().map(id_of).collect();
    let is_wanted = |summary: &Value| {
        depth == Depth::Full
            || known
                .get(&id_of(summary))
                .is_none_or(|record| differs(summary, &record.summary.read()))
    };
    let wanted = listed.into_iter().filter(is_wanted);
    let read = futures::stream::iter(wanted)
        .map(|summary| async move {
            let known = Record::unread(summary.clone());
            (inspect(engine, summary).await, known)
        })
        .buffer_unordered(INSPECTIONS);
    let mut read = std::pin::pin!(read);
    let mut unreadable = 0;
    while let Some((record, known)) = read.next().await {
        match record {
            Ok(Some(record)) => put(engine, record)?,
            // One that went away meanwhile is not missed.
            Ok(None) => engine.change(|picture| picture.forget(&known.container.id)),
            Err(error @ (EngineError::Silent { .. } | EngineError::Nonsense { .. }))
                if unreadable < UNREADABLE_MAX =>
            {
                unreadable += 1;
                tracing::error!(
                    "Unable to update state of container \"{}\": {error}",
                    known.container.id
                );
                put(engine, known)?;
            }
            Err(error) => return Err(error),
        }
    }
    for id in known.keys().filter(|id| !ids.contains(*id)) {
        // It may have come while the list was made.
        read_container(engine, id).await?;
    }
    Ok(())
}

fn id_of(summary: &Value) -> String {
    summary["Id"].as_str().unwrap_or_default().to_owned()
}

/// Whether a container may be another than it was. Its status tells the time, too, which always differs.
fn differs(one: &Value, other: &Value) -> bool {
    let of = |summary: &Value| {
        let mut summary = summary.clone();
        if let Some(status) = summary.get_mut("Status") {
            let text = status.as_str().unwrap_or_default();
            *status = text.split_once('(').map_or("", |(_, note)| note).into();
        }
        summary
    };
    of(one) != of(other)
}

fn put(engine: &Engine, record: Record) -> Result<(), EngineError> {
    let mut is_kept = true;
    engine.change(|picture| is_kept = picture.put(record));
    match is_kept {
        true => Ok(()),
        false => Err(engine.target().nonsense("its containers are larger than any are")),
    }
}

async fn inspect(engine: &Engine, summary: Value) -> Result<Option<Record>, EngineError> {
    let id = id_of(&summary);
    let cpus = engine.picture().specs.cpus;
    let target = engine.target();
    let path = format!("/containers/{id}/json");
    match target.read(Method::GET, &path, HeaderMap::new(), None, ONE).await {
        Ok(bytes) => {
            let details: Value = target.parse(&bytes, ONE)?;
            match details["Id"] == summary["Id"] {
                true => Ok(Some(Record::read(summary, details, cpus, bytes.len()))),
                false => Err(target.nonsense(format!("another container in place of {id}"))),
            }
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads one container anew.
pub(crate) async fn read_container(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let filters = url_encoded(&json!({ "id": [id] }).to_string());
    let path = format!("/containers/json?all=1&filters={filters}");
    let summaries: Vec<Value> = engine.target().get(&path, ANSWER_TIMEOUT).await?;
    let summary = summaries.into_iter().find(|summary| summary["Id"] == id);
    let record = match summary {
        Some(summary) => inspect(engine, summary).await?,
        None => None,
    };
    match record {
        Some(record) => put(engine, record)?,
        None => engine.change(|picture| picture.forget(id)),
    }
    engine.change(|picture| picture.updated_at = SystemTime::now());
    Ok(())
}

pub(crate) async fn read_images(engine: &Engine) -> Result<(), EngineError> {
    let images = list(engine, "/images/json?all=1").await?;
    let images = images.into_iter().map(ImageRecord::read).collect();
    engine.change(|picture| picture.images = Arc::new(images));
    Ok(())
}

pub(crate) async fn read_networks(engine: &Engine) -> Result<(), EngineError> {
    let networks = list(engine, "/networks").await?;
    engine.change(|picture| picture.networks = Arc::new(networks));
    Ok(())
}

pub(crate) async fn read_volumes(engine: &Engine) -> Result<(), EngineError> {
    let mut answer: Value = engine.target().get("/volumes", ANSWER_TIMEOUT).await?;
    let volumes = match answer["Volumes"].take() {
        Value::Array(volumes) if volumes.len() <= ENTRIES_MAX => volumes,
        Value::Array(_) => return Err(engine.target().nonsense("too many volumes")),
        _ => Vec::new(),
    };
    engine.change(|picture| picture.volumes = Arc::new(volumes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_alone_is_no_difference() {
        let summary = |status: &str, state: &str| json!({"Status": status, "State": state});
        let old = summary("Up 5 seconds (healthy)", "running");
        for (status, state, expect) in [
            ("Up 6 seconds (healthy)", "running", false),
            ("Up 6 seconds (unhealthy)", "running", true),
            ("Up 6 seconds (healthy)", "paused", true),
        ] {
            assert_eq!(differs(&summary(status, state), &old), expect, "{status} {state}");
        }
    }
}

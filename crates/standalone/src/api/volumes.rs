//! Volumes of all engines: those of one have its name before theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::future::join_all;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::forward::{forward, path_encoded};
use super::images::all_or_lines;
use super::query::Query;
use super::reply::{Failure, Reply, empty, json as json_reply, json_with};
use super::{Manager, body_json};
use crate::container_config::Wishes;
use crate::engine::{Engine, read_volumes};
use crate::scheduler::Request as Placement;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// All, with their engines.
fn all(manager: &Manager) -> Vec<(Arc<Engine>, Value)> {
    let of_engine = |engine: Arc<Engine>| {
        let volumes = engine.picture().volumes.to_vec();
        volumes.into_iter().map(move |volume| (engine.clone(), volume))
    };
    manager.cluster.engines().into_iter().flat_map(of_engine).collect()
}

fn is_named((engine, volume): &(Arc<Engine>, Value), wanted: &str) -> bool {
    let own = volume["Name"].as_str().unwrap_or_default();
    own == wanted
        || wanted.split_once('/').is_some_and(|(node, name)| {
            name == own && (engine.name() == node || engine.id() == node)
        })
}

fn is_local(volume: &Value) -> bool {
    volume["Driver"] == "local"
}

pub(super) fn list(manager: &Manager, query: &Query) -> Reply {
    let filters = query.filters()?;
    let is_shown = |(engine, volume): &(Arc<Engine>, Value)| {
        let labels = volume["Labels"].as_object().into_iter().flatten();
        let labels: BTreeMap<String, String> = labels
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        let name = volume["Name"].as_str().unwrap_or_default();
        filters.admits("name", |wanted| name.contains(wanted))
            && filters.admits("driver", |wanted| volume["Driver"] == wanted)
            && filters.admits("node", |wanted| engine.name() == wanted)
            && filters.labels(&labels)
    };
    let shown = all(manager).into_iter().filter(is_shown).map(|(engine, mut volume)| {
        if is_local(&volume) {
            let name = volume["Name"].as_str().unwrap_or_default();
            volume["Name"] = format!("{}/{name}", engine.name()).into();
        }
        volume
    });
    json_reply(&json!({"Volumes": shown.collect::<Vec<_>>(), "Warnings": null}))
}

pub(super) async fn inspect(manager: &Manager, name: &str, request: Request<Body>) -> Reply {
    let mut named: Vec<_> = all(manager).into_iter().filter(|one| is_named(one, name)).collect();
    // One that is not local is the same wherever it is seen.
    if named.len() > 1 {
        named.retain(|(_, volume)| !is_local(volume));
        named.truncate(1);
    }
    match named.as_slice() {
        [(engine, volume)] => {
            let own = volume["Name"].as_str().unwrap_or_default();
            forward(engine, request, &format!("/volumes/{}", path_encoded(own))).await
        }
        _ => Err(Failure::not_found(format!("No such volume: {name}"))),
    }
}

/// Makes a volume on the engine that its name begins with, or else on all that its label allows.
pub(super) async fn create(manager: &Manager, request: Request<Body>) -> Reply {
    let mut body = body_json(request).await?;
    let name = body["Name"].as_str().unwrap_or_default().to_owned();
    let engines = match name.split_once('/') {
        Some((node, bare)) => {
            body["Name"] = bare.into();
            let engine = manager.cluster.engine(node);
            vec![engine.ok_or_else(|| Failure::internal(format!("no node is called {node}")))?]
        }
        None => {
            let wishes = Wishes::from_labels(body["Labels"].as_object());
            let wishes = wishes.map_err(|error| Failure::internal(error.to_string()))?;
            let whitelists = wishes.whitelists;
            let wishes = Wishes { whitelists, ..Wishes::default() };
            manager.cluster.candidates(&Placement { wishes, ..Placement::default() })?
        }
    };
    if name.is_empty() {
        let random: [u8; 32] = rand::random();
        body["Name"] = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    }
    let body = &body;
    let on_each = engines.iter().map(|engine| async move {
        let target = engine.target();
        let answer: Result<Value, _> = target
            .ask(Method::POST, "/volumes/create", HeaderMap::new(), Some(body), ANSWER_TIMEOUT)
            .await;
        engine.note(&answer);
        let made = answer?;
        read_volumes(engine).await?;
        Ok(made)
    });
    let made = all_or_lines(engines.iter(), join_all(on_each).await)?;
    json_with(StatusCode::CREATED, &made.first())
}

pub(super) async fn remove(manager: &Manager, name: &str, query: &str) -> Reply {
    let named: Vec<_> = all(manager).into_iter().filter(|one| is_named(one, name)).collect();
    if named.is_empty() {
        return Err(Failure::not_found(format!("No such volume {name}")));
    }
    let on_each = named.iter().map(|(engine, volume)| async move {
        let own = volume["Name"].as_str().unwrap_or_default();
        let path = format!("/volumes/{}{query}", path_encoded(own));
        let target = engine.target();
        let answer: Result<Value, _> =
            target.ask(Method::DELETE, &path, HeaderMap::new(), None, ANSWER_TIMEOUT).await;
        engine.note(&answer);
        answer?;
        read_volumes(engine).await
    });
    all_or_lines(named.iter().map(|(engine, _)| engine), join_all(on_each).await)?;
    empty(StatusCode::NO_CONTENT)
}

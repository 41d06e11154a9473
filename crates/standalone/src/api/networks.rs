//! Networks of all engines. Those of one engine have its name before theirs: `node-1/bridge`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::containers::find;
use super::forward::forward;
use super::query::Query;
use super::reply::{Failure, Reply, empty, json as json_reply, json_with};
use super::{Manager, body_json};
use crate::container_config::Wishes;
use crate::engine::{Engine, read_networks};
use crate::scheduler::Request as Placement;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Networks that every engine has of its own.
const BUILT_IN: [&str; 3] = ["none", "host", "bridge"];

/// A network, and an engine that has it.
struct Found {
    engine: Arc<Engine>,
    network: Value,
}

impl Found {
    fn text(&self, field: &str) -> &str {
        self.network[field].as_str().unwrap_or_default()
    }

    fn is_local(&self) -> bool {
        self.network["Scope"] == "local"
    }
}

/// Each network once, with the containers that it has anywhere.
fn all(manager: &Manager) -> Vec<Found> {
    let mut merged: BTreeMap<String, Found> = BTreeMap::new();
    for engine in manager.cluster.engines() {
        for network in engine.picture().networks.iter() {
            let id = network["Id"].as_str().unwrap_or_default().to_owned();
            let Some(known) = merged.get_mut(&id) else {
                merged.insert(id, Found { engine: engine.clone(), network: network.clone() });
                continue;
            };
            let more = network["Containers"].as_object().into_iter().flatten();
            for (container, endpoint) in more {
                known.network["Containers"][container] = endpoint.clone();
            }
        }
    }
    merged.into_values().collect()
}

/// The network that this means; none where it may mean several.
fn lookup(manager: &Manager, wanted: &str) -> Option<Found> {
    let mut all = all(manager);
    let is_id = |found: &Found| {
        let id = found.text("Id");
        !id.is_empty() && (id == wanted || id.get(..12) == Some(wanted))
    };
    if let Some(at) = all.iter().position(is_id) {
        return Some(all.swap_remove(at));
    }
    let is_named = |found: &&Found| {
        let own = found.text("Name");
        own == wanted
            || wanted.split_once('/').is_some_and(|(node, name)| {
                name == own && (found.engine.name() == node || found.engine.id() == node)
            })
    };
    let named = all.iter().filter(is_named).count();
    if named > 0 {
        return all.into_iter().find(|found| is_named(&found)).filter(|_| named == 1);
    }
    let begins = |found: &&Found| !wanted.is_empty() && found.text("Id").starts_with(wanted);
    let begun = all.iter().filter(begins).count();
    all.into_iter().find(|found| begins(&found)).filter(|_| begun == 1)
}

pub(super) fn list(manager: &Manager, query: &Query) -> Reply {
    let filters = query.filters()?;
    for kind in filters.get("type").into_iter().flatten() {
        if kind != "custom" && kind != "builtin" {
            return Err(Failure::bad_request(format!("Invalid filter: 'type'='{kind}'")));
        }
    }
    let is_shown = |found: &Found| {
        let name = found.text("Name");
        let kind = if BUILT_IN.contains(&name) { "builtin" } else { "custom" };
        let labels = found.network["Labels"].as_object().into_iter().flatten();
        let labels: BTreeMap<String, String> = labels
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        filters.admits("type", |wanted| wanted == kind)
            && (filters.matches("name", name) || filters.matches("name", &shown_name(found)))
            && filters.admits("id", |wanted| found.text("Id").starts_with(wanted))
            && filters.admits("driver", |wanted| wanted == found.text("Driver"))
            && filters.admits("scope", |wanted| wanted == found.text("Scope"))
            && filters.admits("node", |wanted| found.engine.name() == wanted)
            && filters.labels(&labels)
    };
    let shown = all(manager).into_iter().filter(is_shown).map(|found| {
        let name = shown_name(&found);
        let mut network = found.network;
        network["Name"] = name.into();
        network
    });
    json_reply(&shown.collect::<Vec<_>>())
}

fn shown_name(found: &Found) -> String {
    match found.is_local() {
        true => format!("{}/{}", found.engine.name(), found.text("Name")),
        false => found.text("Name").to_owned(),
    }
}

pub(super) async fn inspect(manager: &Manager, name: &str, request: Request<Body>) -> Reply {
    let found = lookup(manager, name)
        .ok_or_else(|| Failure::not_found(format!("No such network: {name}")))?;
    forward(&found.engine, request, &format!("/networks/{}", found.text("Id"))).await
}

pub(super) async fn create(manager: &Manager, request: Request<Body>) -> Reply {
    let mut body = body_json(request).await?;
    let name = body["Name"].as_str().unwrap_or_default().to_owned();
    if body["Driver"].as_str().is_none_or(str::is_empty) {
        body["Driver"] = "overlay".into();
    }
    let engine = match name.split_once('/') {
        Some((node, bare)) => {
            body["Name"] = bare.into();
            let constraints = vec![format!("node=={node}")];
            let wishes = Wishes { constraints, ..Wishes::default() };
            let placement = Placement { wishes, ..Placement::default() };
            manager.cluster.choose(&placement)?
        }
        None => manager.cluster.any_engine()?,
    };
    let answer = engine
        .target()
        .ask::<Value>(
            Method::POST,
            "/networks/create",
            HeaderMap::new(),
            Some(&body),
            ANSWER_TIMEOUT,
        )
        .await;
    engine.note(&answer);
    let answer = answer?;
    refresh(manager).await;
    json_with(StatusCode::CREATED, &answer)
}

/// Networks that span engines appear on all of them.
async fn refresh(manager: &Manager) {
    let engines = manager.cluster.engines();
    let reads = engines.iter().filter(|engine| engine.is_healthy()).map(|engine| async move {
        if let Err(error) = read_networks(engine).await {
            tracing::debug!(%error, "networks could not be read");
        }
    });
    futures::future::join_all(reads).await;
}

pub(super) async fn remove(manager: &Manager, name: &str) -> Reply {
    let found = lookup(manager, name)
        .ok_or_else(|| Failure::not_found(format!("No such network {name}")))?;
    let path = format!("/networks/{}", found.text("Id"));
    let target = found.engine.target();
    let answer: Result<Value, _> =
        target.ask(Method::DELETE, &path, HeaderMap::new(), None, ANSWER_TIMEOUT).await;
    found.engine.note(&answer);
    answer?;
    refresh(manager).await;
    empty(StatusCode::NO_CONTENT)
}

/// Connects a container to a network, or disconnects it, on the container's engine.
pub(super) async fn pass(
    manager: &Manager,
    name: &str,
    verb: &str,
    request: Request<Body>,
) -> Reply {
    let network = lookup(manager, name)
        .ok_or_else(|| Failure::not_found(format!("No such network: {name}")))?;
    let mut body =
        body_json(request).await.map_err(|_| Failure::not_found("Container is not specified"))?;
    let wanted = body["Container"].as_str().unwrap_or_default().to_owned();
    let container = find(manager, &wanted, format!("No such container: {wanted}"))?;
    body["Container"] = container.record.container.id.clone().into();
    let path = format!("/networks/{}/{verb}", network.text("Id"));
    let target = container.engine.target();
    let answer: Result<Value, _> =
        target.ask(Method::POST, &path, HeaderMap::new(), Some(&body), ANSWER_TIMEOUT).await;
    container.engine.note(&answer);
    answer?;
    json_reply(&json!(null))
}

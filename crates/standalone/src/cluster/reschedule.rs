//! Containers whose engine is lost are made anew elsewhere, where their creator asked for it.
//!
//! What is to be done is read from how things are, time and again: nothing that happened while nobody watched is
//! missed, and what failed is tried once more. When the engine is back, it has the older of two containers with one
//! Swarm identifier, and that one goes. Mirrors docker/swarm's `cluster/watchdog.go`, which did each once, or never.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::{Cluster, Creation, Found};
use crate::container_config::ID_LABEL;
use crate::engine::{EngineError, read_container};
use crate::leadership::Leadership;

/// How often the pool is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// An engine may take so long to start or remove a container.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Looks after the containers until it is dropped, whenever this manager is the primary.
pub(crate) async fn watch(cluster: Arc<Cluster>, leadership: Leadership) {
    tracing::debug!("Watchdog enabled");
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if !leadership.is_primary() {
            continue;
        }
        let all = cluster.containers();
        for lost in lost(&all) {
            move_away(&cluster, lost).await;
        }
        for surplus in surplus(&all) {
            remove(surplus).await;
        }
    }
}

/// Containers of engines that don't answer, which are to run elsewhere and don't yet.
fn lost(all: &[Found]) -> Vec<&Found> {
    let is_elsewhere = |lost: &Found| {
        let id = swarm_id(lost);
        all.iter().any(|other| other.engine.is_healthy() && swarm_id(other) == id)
    };
    all.iter()
        .filter(|found| found.engine.is_lost() && found.record.wishes.is_rescheduled())
        .filter(|found| !swarm_id(found).is_empty() && !is_elsewhere(found))
        .collect()
}

/// Containers that were made anew elsewhere while their engine was away.
fn surplus(all: &[Found]) -> Vec<&Found> {
    // An identifier alone may have come along with an image that was committed; who was moved has its name, too.
    let mut by_id: BTreeMap<(&str, &[String]), Vec<&Found>> = BTreeMap::new();
    for found in all.iter().filter(|found| {
        found.engine.is_healthy()
            && found.record.wishes.is_rescheduled()
            && !swarm_id(found).is_empty()
    }) {
        by_id.entry((swarm_id(found), &found.record.container.names)).or_default().push(found);
    }
    let mut surplus = Vec::new();
    for mut same in by_id.into_values() {
        same.sort_by(|one, other| other.record.created.cmp(&one.record.created));
        let newest = same[0].engine.addr();
        // Two on one engine are somebody's own doing.
        surplus.extend(same.iter().skip(1).filter(|found| found.engine.addr() != newest));
    }
    surplus
}

fn swarm_id(found: &Found) -> &str {
    found.record.container.labels.get(ID_LABEL).map_or("", String::as_str)
}

async fn move_away(cluster: &Cluster, lost: &Found) {
    let id = &lost.record.container.id;
    let Some(name) = lost.record.container.names.first() else {
        return tracing::error!("container {id} has no name");
    };
    // Only those that nobody asks for here have none.
    let Some(details) = &lost.record.details else { return };
    // Its name is free for its successor.
    lost.engine.change(|picture| {
        picture.forget(id);
    });
    let creation = Creation {
        name: name.trim_start_matches('/').to_owned(),
        body: body(&details.read()),
        auth: None,
    };
    let made = match cluster.create(creation).await {
        Ok(made) => made,
        Err(error) => {
            let record = lost.record.clone();
            lost.engine.change(|picture| {
                picture.put(record);
            });
            return tracing::error!("Failed to reschedule container {id}: {error}");
        }
    };
    let Some(found) = cluster.container(&made) else { return };
    tracing::info!(
        "Rescheduled container {id} from {} to {} as {made}",
        lost.engine.name(),
        found.engine.name()
    );
    if lost.record.run.is_up() {
        tracing::info!("Container {id} was running, starting container {made}");
        if let Err(error) = start(&found).await {
            tracing::error!("Failed to start rescheduled container {made}: {error}");
        }
    }
}

async fn start(found: &Found) -> Result<(), EngineError> {
    let id = &found.record.container.id;
    let path = format!("/containers/{id}/start");
    let target = found.engine.target();
    let _: Value = target.ask(Method::POST, &path, HeaderMap::new(), None, ANSWER_TIMEOUT).await?;
    read_container(&found.engine, id).await
}

async fn remove(surplus: &Found) {
    let id = &surplus.record.container.id;
    let path = format!("/containers/{id}?force=1&v=1");
    let target = surplus.engine.target();
    let removed: Result<Value, EngineError> =
        target.ask(Method::DELETE, &path, HeaderMap::new(), None, ANSWER_TIMEOUT).await;
    match removed {
        Err(error) if !error.is_not_found() => tracing::error!(
            "Failed to remove duplicate container {id} on node {}: {error}",
            surplus.engine.name()
        ),
        _ => surplus.engine.change(|picture| {
            picture.forget(id);
        }),
    }
}

/// What made a container, as far as its engine told: good for making it anew.
fn body(details: &Value) -> Map<String, Value> {
    let mut body = details["Config"].as_object().cloned().unwrap_or_default();
    // The engine's own choice, where nobody chose one.
    let own_hostname = body.get("Hostname").and_then(Value::as_str).unwrap_or_default();
    if details["Id"].as_str().is_some_and(|id| id.get(..12) == Some(own_hostname)) {
        body.remove("Hostname");
    }
    body.insert("HostConfig".to_owned(), details["HostConfig"].clone());
    let networks = details["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    // Addresses belong to the container that is lost; what was asked for stays.
    let kept = |endpoint: &Value| {
        let fields = ["IPAMConfig", "Links", "Aliases", "DriverOpts"];
        let kept = fields
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), endpoint.get(field)?.clone())));
        Value::Object(kept.collect())
    };
    let endpoints: Map<String, Value> =
        networks.map(|(name, endpoint)| (name.clone(), kept(endpoint))).collect();
    body.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": endpoints }));
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_made_anew_from_what_its_engine_told() {
        let details = json!({
            "Id": "0123456789abcdef",
            "Config": {"Hostname": "0123456789ab", "Image": "alpine", "Labels": {"com.docker.swarm.id": "x"}},
            "HostConfig": {"Memory": 1},
            "NetworkSettings": {"Networks": {"mynet": {"IPAddress": "10.0.0.2", "Aliases": ["web"]}}},
        });
        let expect = json!({
            "Image": "alpine",
            "Labels": {"com.docker.swarm.id": "x"},
            "HostConfig": {"Memory": 1},
            "NetworkingConfig": {"EndpointsConfig": {"mynet": {"Aliases": ["web"]}}},
        });
        assert_eq!(Value::Object(body(&details)), expect);
    }
}

//! Containers of all engines: the list, one of them, making, removing, and what is passed on to their engines.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use swarm_engine::human_duration;

use super::forward::{forward, path_encoded};
use super::query::{Filters, Query, with_value};
use super::reply::{Failure, Reply, empty, json as json_reply, json_list, json_with};
use super::{Manager, body_json};
use crate::cluster::{Creation, Found};
use crate::engine::{
    Depth, Engine, EngineError, Run, read_all, read_container, read_images, url_encoded,
};
use crate::text::parse_rfc3339;

/// An engine may take so long to remove a container, or to answer about one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn list(manager: &Manager, query: &Query) -> Reply {
    let filters = query.filters()?;
    refresh(manager, &filters).await;
    let exited: Option<Vec<i64>> = match filters.get("exited") {
        None => None,
        Some(codes) => {
            let codes = codes.iter().map(|code| code.parse());
            Some(
                codes
                    .collect::<Result<_, _>>()
                    .map_err(|_| Failure::internal("invalid filter 'exited'"))?,
            )
        }
    };
    let limit = query.number("limit");
    let all = query.flag("all") || filters.get("status").is_some() || exited.is_some();
    let before = match query.text("before") {
        "" => None,
        name => {
            let found = manager.cluster.container(name);
            Some(found.ok_or_else(|| Failure::not_found(format!("No such container {name}")))?)
        }
    };
    let created_of = |filter: &str| -> Result<Option<String>, Failure> {
        let Some(name) = filters.get(filter).and_then(<[String]>::first) else { return Ok(None) };
        let found = manager.cluster.container(name);
        let found = found.ok_or_else(|| Failure::not_found(format!("No such container {name}")))?;
        Ok(Some(found.record.created.clone()))
    };
    let (made_before, made_since) = (created_of("before")?, created_of("since")?);
    let is_shown = |found: &Found| {
        let created = &found.record.created;
        let is_in_time = made_before.as_ref().is_none_or(|before| created < before)
            && made_since.as_ref().is_none_or(|since| created > since);
        let runs = found.record.run.is_up() && found.engine.is_healthy();
        let is_of_swarm = {
            let image = found.record.image.as_str();
            image == "swarm" || image.starts_with("swarm:")
        };
        (all || ((runs || before.is_some() || limit > 0) && !is_of_swarm))
            && is_in_time
            && admits(&filters, found)
            && exited.as_ref().is_none_or(|codes| {
                codes.contains(&found.record.state.exit_code) && !found.record.run.is_up()
            })
    };
    let mut found: Vec<Found> = manager.cluster.containers();
    found.retain(is_shown);
    found.sort_by(|one, other| other.record.created.cmp(&one.record.created));
    if let Some(before) = before {
        found.retain(|found| found.record.created < before.record.created);
    }
    if limit > 0 {
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let now = SystemTime::now();
    json_list(found.iter().map(|found| entry(found, now)))
}

/// Looks at engines first, where the manager was told to for such filters.
async fn refresh(manager: &Manager, filters: &Filters) {
    let wants = &manager.refresh;
    let has = |name: &str, value: &str| {
        filters.get(name).is_some_and(|values| values.iter().any(|given| given == value))
    };
    let is_all = !wants.name.is_empty() && has("name", &wants.name);
    let engines = manager.cluster.engines().into_iter().filter(|engine| {
        engine.is_healthy() && (is_all || (wants.node && has("node", &engine.name())))
    });
    let looks = engines.map(|engine| async move {
        note_failure(&engine, read_all(&engine, Depth::Full).await);
    });
    futures::future::join_all(looks).await;
}

fn admits(filters: &Filters, found: &Found) -> bool {
    let (container, record) = (&found.record.container, &found.record);
    let name = container.names.first().map_or("", |name| name.trim_start_matches('/'));
    let health = Some(record.state.health.as_str()).filter(|health| !health.is_empty());
    let health = health.unwrap_or("none");
    let is_task = container.labels.contains_key("com.docker.swarm.task").to_string();
    let has_mount = |wanted: &str| {
        let summary = record.summary.read();
        let mut mounts = summary["Mounts"].as_array().into_iter().flatten();
        mounts.any(|mount| mount["Name"] == wanted || mount["Destination"] == wanted)
    };
    let in_network = |wanted: &str| {
        let summary = record.summary.read();
        let networks = summary["NetworkSettings"]["Networks"].as_object();
        networks.into_iter().flatten().any(|(name, network)| {
            let id = network["NetworkID"].as_str().unwrap_or_default();
            name == wanted || (!wanted.is_empty() && id.starts_with(wanted))
        })
    };
    let has_port = |wanted: &str, field: &str| {
        let summary = record.summary.read();
        let mut ports = summary["Ports"].as_array().into_iter().flatten();
        ports.any(|port| is_port(wanted, &port[field], port["Type"].as_str().unwrap_or_default()))
    };
    let is_exposed = |wanted: &str| {
        container.exposed_ports.iter().any(|port| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            is_port(wanted, &number.parse::<u16>().unwrap_or_default().into(), protocol)
        })
    };
    filters.matches("name", name)
        && filters.matches("id", &container.id)
        && filters.matches("status", record.run.name())
        && filters.matches("node", &found.engine.name())
        && filters.labels(&container.labels)
        && filters.admits("health", |wanted| wanted == health)
        && filters.admits("is-task", |wanted| wanted == is_task)
        && filters.admits("volume", has_mount)
        && filters.admits("network", in_network)
        && filters.admits("publish", |wanted| has_port(wanted, "PublicPort"))
        && filters.admits("expose", |wanted| is_exposed(wanted) || has_port(wanted, "PrivatePort"))
        && filters
            .admits("ancestor", |wanted| crate::scheduler::is_same_image(&record.image, wanted))
}

/// Whether a port is meant by `80`, `80/udp` or `8000-8010/tcp`.
fn is_port(wanted: &str, port: &Value, protocol: &str) -> bool {
    let (ports, wanted_protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let bounds = (first.parse::<u64>(), last.parse::<u64>());
    let (Ok(first), Ok(last)) = bounds else { return false };
    wanted_protocol == protocol && port.as_u64().is_some_and(|port| (first..=last).contains(&port))
}

/// A container's entry in the list.
fn entry(found: &Found, now: SystemTime) -> Value {
    let mut entry = found.record.summary.read();
    let node = found.engine.name();
    let named = |name: &Value| format!("/{node}{}", name.as_str().unwrap_or_default());
    let names: Vec<String> = entry["Names"].as_array().into_iter().flatten().map(named).collect();
    entry["Names"] = names.into();
    entry["Status"] = match found.engine.is_healthy() {
        true => status(found, now).into(),
        false => "Host Down".into(),
    };
    let ip = found.engine.ip();
    for port in entry["Ports"].as_array_mut().into_iter().flatten() {
        if port.get("IP").is_some_and(|ip| ip == "0.0.0.0" || ip == "::") {
            port["IP"] = ip.clone().into();
        }
    }
    // What was published for both families of addresses is one port at the engine's own.
    if let Some(ports) = entry["Ports"].as_array_mut() {
        let mut told = Vec::new();
        ports.retain(|port| {
            let is_new = !told.contains(port);
            told.push(port.clone());
            is_new
        });
    }
    entry
}

/// How long it has been how it is.
fn status(found: &Found, now: SystemTime) -> String {
    let state = &found.record.state;
    let since = |at: &str| {
        let at = parse_rfc3339(at);
        human_duration(at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default())
    };
    let code = state.exit_code;
    match found.record.run {
        Run::Created => "Created".to_owned(),
        Run::Dead => "Dead".to_owned(),
        Run::Exited => format!("Exited ({code}) {} ago", since(&state.finished_at)),
        Run::Restarting => format!("Restarting ({code}) {} ago", since(&state.finished_at)),
        Run::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Run::Running => match state.health.as_str() {
            "starting" => format!("Up {} (health: starting)", since(&state.started_at)),
            health @ ("healthy" | "unhealthy") => {
                format!("Up {} ({health})", since(&state.started_at))
            }
            _ => format!("Up {}", since(&state.started_at)),
        },
    }
}

pub(super) async fn inspect(manager: &Manager, name: &str, query: &str) -> Reply {
    let found = find(manager, name, format!("No such container {name}"))?;
    let path = format!("/containers/{}/json{query}", found.record.container.id);
    let answer: Result<Value, EngineError> = found.engine.target().get(&path, ANSWER_TIMEOUT).await;
    found.engine.note(&answer);
    let mut details = answer?;
    let picture = found.engine.picture();
    details["Node"] = json!({
        "ID": found.engine.id(),
        "IP": found.engine.ip(),
        "Addr": found.engine.addr(),
        "Name": picture.specs.name,
        "Cpus": picture.specs.cpus,
        "Memory": picture.specs.memory,
        "Labels": picture.specs.labels,
    });
    let ip = found.engine.ip();
    let ports = details["NetworkSettings"]["Ports"].as_object_mut();
    for binding in
        ports.into_iter().flat_map(Map::values_mut).filter_map(Value::as_array_mut).flatten()
    {
        if binding["HostIp"].as_str().is_none_or(|ip| ["", "0.0.0.0", "::"].contains(&ip)) {
            binding["HostIp"] = ip.clone().into();
        }
    }
    json_reply(&details)
}

pub(super) async fn create(manager: &Manager, query: &Query, request: Request<Body>) -> Reply {
    let auth = request.headers().get("X-Registry-Auth").cloned();
    let Value::Object(mut body) = body_json(request).await? else {
        return Err(Failure::bad_request("the body must be a JSON object"));
    };
    localize_endpoints(manager, &mut body);
    let creation =
        Creation { name: query.text("name").trim_start_matches('/').to_owned(), body, auth };
    let id = manager.cluster.create(creation).await?;
    json_with(StatusCode::CREATED, &json!({ "Id": id, "Warnings": [] }))
}

/// Engines know their networks without their own name before them.
fn localize_endpoints(manager: &Manager, body: &mut Map<String, Value>) {
    let Some(config) = body.get_mut("NetworkingConfig") else { return };
    let Some(endpoints) = config.get_mut("EndpointsConfig").and_then(Value::as_object_mut) else {
        return;
    };
    let local = |name: String| match name.split_once('/') {
        Some((node, network)) if manager.cluster.engine(node).is_some() => network.to_owned(),
        _ => name,
    };
    *endpoints =
        std::mem::take(endpoints).into_iter().map(|(name, end)| (local(name), end)).collect();
}

pub(super) async fn remove(manager: &Manager, name: &str, query: &str) -> Reply {
    let Some(found) = manager.cluster.container(name) else {
        return Err(Failure::not_found(format!("Container {name} not found")));
    };
    let path = format!("/containers/{}{query}", found.record.container.id);
    tell(&found, Method::DELETE, &path).await?;
    let id = found.record.container.id.clone();
    found.engine.change(|picture| {
        picture.forget(&id);
    });
    empty(StatusCode::NO_CONTENT)
}

pub(super) async fn rename(manager: &Manager, name: &str, query: &Query) -> Reply {
    let found = find(manager, name, format!("No such container {name}"))?;
    let wanted = query.text("name").trim_start_matches('/');
    let slashed = format!("/{wanted}");
    let is_taken = |found: &Found| found.record.container.names.contains(&slashed);
    if manager.cluster.containers().iter().any(is_taken) {
        let message = format!(
            "Conflict: The name {wanted} is already assigned. You have to delete (or rename) that container to be able to assign {wanted} to a container again."
        );
        return Err(Failure::new(StatusCode::CONFLICT, message));
    }
    let path =
        format!("/containers/{}/rename?name={}", found.record.container.id, url_encoded(wanted));
    tell(&found, Method::POST, &path).await?;
    read_container(&found.engine, &found.record.container.id).await?;
    empty(StatusCode::NO_CONTENT)
}

async fn tell(found: &Found, method: Method, path: &str) -> Result<(), EngineError> {
    let answer: Result<Value, EngineError> =
        found.engine.target().ask(method, path, HeaderMap::new(), None, ANSWER_TIMEOUT).await;
    found.engine.note(&answer);
    answer.map(drop)
}

/// Passes a request on to the container's engine, and the answer back.
pub(super) async fn pass(
    manager: &Manager,
    name: &str,
    verb: &str,
    is_change: bool,
    request: Request<Body>,
) -> Reply {
    let found = find(manager, name, format!("No such container: {name}"))?;
    let id = found.record.container.id.clone();
    let response = forward(&found.engine, request, &format!("/containers/{id}/{verb}")).await?;
    // Whoever waits for a container waits for its end; its events tell how it is then.
    if is_change && verb != "wait" {
        note_failure(&found.engine, read_container(&found.engine, &id).await);
    }
    Ok(response)
}

/// Makes an image of a container, on the container's engine.
pub(super) async fn commit(manager: &Manager, query: &Query, mut request: Request<Body>) -> Reply {
    let name = query.text("container");
    let found = find(manager, name, format!("No such container: {name}"))?;
    let id = &found.record.container.id;
    let uri = with_value(request.uri().query().unwrap_or_default(), "container", id);
    let uri = format!("{}?{uri}", request.uri().path());
    *request.uri_mut() = uri.parse().map_err(|_| Failure::bad_request("invalid parameters"))?;
    let response = forward(&found.engine, request, "/commit").await?;
    if response.status() == StatusCode::CREATED {
        note_failure(&found.engine, read_images(&found.engine).await);
    }
    Ok(response)
}

/// The engine did what it should; that its picture is not new yet is no failure of that.
pub(super) fn note_failure(engine: &Engine, read: Result<(), EngineError>) {
    if let Err(error) = read {
        tracing::debug!(addr = engine.addr(), %error, "Engine refresh failed");
    }
}

/// Notes which container a command belongs to, so that it is found by the command's identifier alone.
pub(super) async fn exec_create(manager: &Manager, name: &str, request: Request<Body>) -> Reply {
    let found = find(manager, name, format!("No such container {name}"))?;
    let body = body_json(request).await?;
    if body["Cmd"].as_array().is_none_or(Vec::is_empty) {
        return Err(Failure::bad_request("No exec command specified"));
    }
    let path = format!("/containers/{}/exec", found.record.container.id);
    let target = found.engine.target();
    let answer: Result<Value, EngineError> =
        target.ask(Method::POST, &path, HeaderMap::new(), Some(&body), ANSWER_TIMEOUT).await;
    found.engine.note(&answer);
    let answer = answer?;
    manager.note_exec(answer["Id"].as_str().unwrap_or_default(), found.engine.addr());
    json_with(StatusCode::CREATED, &answer)
}

pub(super) async fn exec_pass(
    manager: &Manager,
    id: &str,
    verb: &str,
    request: Request<Body>,
) -> Reply {
    let engine = match manager.exec_engine(id) {
        Some(engine) => engine,
        None => find_exec(manager, id).await?,
    };
    forward(&engine, request, &format!("/exec/{}/{verb}", path_encoded(id))).await
}

/// Asks all engines for a command that another manager, or nobody, noted.
async fn find_exec(manager: &Manager, id: &str) -> Result<Arc<Engine>, Failure> {
    for engine in manager.cluster.engines().into_iter().filter(|engine| engine.is_healthy()) {
        let path = format!("/exec/{id}/json");
        if engine.target().get::<Value>(&path, ANSWER_TIMEOUT).await.is_ok() {
            return Ok(engine);
        }
    }
    Err(Failure::not_found(format!("Exec {id} not found")))
}

/// The container of this name on an engine that answers.
pub(super) fn find(manager: &Manager, name: &str, missing: String) -> Result<Found, Failure> {
    let found = manager.cluster.container(name).ok_or_else(|| Failure::not_found(missing))?;
    match found.engine.is_healthy() {
        true => Ok(found),
        false => Err(Failure::internal(format!(
            "Container {name} running on unhealthy node {}",
            found.engine.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_meant_by_numbers_and_spans() {
        for (wanted, expect) in [
            ("80", true),
            ("80/tcp", true),
            ("80/udp", false),
            ("79-81", true),
            ("81-90/tcp", false),
            ("http", false),
        ] {
            assert_eq!(is_port(wanted, &json!(80), "tcp"), expect, "{wanted}");
        }
        assert!(!is_port("80", &json!(null), "tcp"));
    }
}

//! What happens on all engines, as one stream.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::IntoResponse as _;
use futures::StreamExt as _;
use http::header;
use serde_json::{Value, json};
use tokio_stream::wrappers::BroadcastStream;

use super::Manager;
use super::query::Query;
use super::reply::{Failure, Reply};
use crate::engine::EngineEvent;

/// Follows the events of all engines from now on, until the time asked for.
pub(super) fn follow(manager: &Manager, query: &Query) -> Reply {
    let until = match query.text("until") {
        "" => None,
        text => {
            let seconds: i64 = text.parse().map_err(|_| {
                Failure::bad_request(format!(
                    "strconv.ParseInt: parsing \"{text}\": invalid syntax"
                ))
            })?;
            u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)
        }
    };
    let filters = query.filters()?;
    let left = until.map(|until| {
        let at = UNIX_EPOCH + Duration::from_secs(until);
        at.duration_since(SystemTime::now()).unwrap_or_default()
    });
    let ended = async move {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    // One who does not keep up is cut off rather than told of some.
    let told = BroadcastStream::new(manager.cluster.events()).take_while(|event| {
        let goes_on = event.is_ok();
        async move { goes_on }
    });
    let told = told.filter_map(move |event| {
        let text = event.ok().map(|event| told_event(&event)).filter(|event| {
            let actor = event["Actor"]["ID"].as_str().unwrap_or_default();
            filters.admits("type", |wanted| event["Type"] == wanted)
                && filters.admits("event", |wanted| event["Action"] == wanted)
                && filters.admits("node", |wanted| event["node"]["Name"] == wanted)
                && filters.admits("container", |wanted| {
                    actor.starts_with(wanted) || event["Actor"]["Attributes"]["name"] == wanted
                })
        });
        async move { text.map(|event| Ok::<_, Infallible>(event.to_string())) }
    });
    let body = Body::from_stream(told.take_until(ended));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// An engine's event, with the engine in it.
fn told_event(event: &EngineEvent) -> Value {
    let EngineEvent { engine, event } = event;
    let mut told = Value::clone(event);
    let (name, id) = (engine.name(), engine.id());
    let from = told["from"].as_str().unwrap_or_default();
    told["from"] = format!("{from} node:{name}").into();
    let attributes = [
        ("node.addr", engine.addr().to_owned()),
        ("node.id", id.clone()),
        ("node.ip", engine.ip()),
        ("node.name", name.clone()),
    ];
    for (key, value) in attributes {
        told["Actor"]["Attributes"][key] = value.into();
    }
    told["node"] = json!({"Name": name, "Id": id, "Addr": engine.addr(), "Ip": engine.ip()});
    told
}

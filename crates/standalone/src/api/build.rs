//! Building an image: on one engine, which the build's arguments may choose.
//!
//! `--build-arg constraint:region==us` steers as an environment variable does for a container, and isn't passed on.

use std::sync::Arc;

use axum::body::Body;
use futures::StreamExt as _;
use http::Request;
use serde_json::{Map, Value};

use super::Manager;
use super::containers::note_failure;
use super::forward::forward;
use super::progress::{error_of, messages, stream};
use super::query::{Query, with_value};
use super::reply::{Failure, Reply};
use crate::container_config::Wishes;
use crate::engine::{Engine, read_images};
use crate::scheduler::Request as Placement;

/// The builder whose messages are its own business.
const BUILDKIT: &str = "2";
/// Which session a connection is for.
const SESSION_HEADER: &str = "X-Docker-Expose-Session-Uuid";

pub(super) async fn build(manager: &Manager, query: &Query, mut request: Request<Body>) -> Reply {
    let version = query.text("version");
    if !["", "1", BUILDKIT].contains(&version) {
        return Err(Failure::internal(format!("invalid version {version}")));
    }
    let (wishes, arguments) = steering(query.text("buildargs"))?;
    let placement = Placement {
        wishes,
        memory: query.number("memory"),
        cpus: query.number("cpushares"),
        ..Placement::default()
    };
    let uploaded_to = query.text("remote").strip_prefix("upload-request:");
    let engine = match uploaded_to {
        Some(id) => waited_for(manager, id).await?,
        None => manager.cluster.choose(&placement)?,
    };
    for id in [query.text("buildid"), query.text("session")] {
        if uploaded_to.is_none() && !id.is_empty() {
            manager.builds.note(id, &engine);
        }
    }
    if let Some(arguments) = arguments {
        let raw = request.uri().query().unwrap_or_default();
        let uri = with_value(raw, "buildargs", &Value::Object(arguments).to_string());
        let uri = format!("{}?{uri}", request.uri().path());
        *request.uri_mut() = uri.parse().map_err(|_| Failure::bad_request("invalid parameters"))?;
    }
    let response = forward(&engine, request, "/build").await?;
    if !response.status().is_success() || version == BUILDKIT {
        return Ok(response);
    }
    // Who asked for nothing but the identifier gets nothing else.
    let node = (!query.flag("q")).then(|| engine.name());
    let (teller, reply) = stream();
    tokio::spawn(async move {
        let mut told = messages(&engine, response);
        while let Some(message) = told.next().await {
            let mut message = match message {
                Ok(message) => message,
                Err(error) => return teller.fail(&error.to_string()).await,
            };
            let is_end = error_of(&message).is_some();
            if is_end || message.get("aux").is_some() {
                note_failure(&engine, read_images(&engine).await);
            }
            if let (Some(node), false) = (&node, is_end) {
                message["id"] = node.as_str().into();
            }
            if teller.say(message).await.is_err() {
                return;
            }
        }
        note_failure(&engine, read_images(&engine).await);
    });
    reply
}

/// Ends a build on its engine.
pub(super) async fn cancel(manager: &Manager, query: &Query, request: Request<Body>) -> Reply {
    let id = query.text("id");
    if id.is_empty() {
        return Err(Failure::bad_request("build ID not provided"));
    }
    let engine = waited_for(manager, id).await?;
    forward(&engine, request, "/build/cancel").await
}

/// Joins a client with the builder that works for it.
pub(super) async fn session(manager: &Manager, request: Request<Body>) -> Reply {
    let id = request.headers().get(SESSION_HEADER).and_then(|id| id.to_str().ok());
    let Some(id) = id.filter(|id| !id.is_empty()).map(str::to_owned) else {
        return Err(Failure::bad_request("no session ID provided"));
    };
    let engine = waited_for(manager, &id).await?;
    forward(&engine, request, "/session").await
}

async fn waited_for(manager: &Manager, id: &str) -> Result<Arc<Engine>, Failure> {
    let engine = manager.builds.find(id).await;
    engine.ok_or_else(|| Failure::internal("timeout waiting for build to start"))
}

/// What a build's arguments ask of Swarm, and those that are left, where that isn't all.
fn steering(text: &str) -> Result<(Wishes, Option<Map<String, Value>>), Failure> {
    if text.is_empty() {
        return Ok((Wishes::default(), None));
    }
    let invalid = |error: serde_json::Error| {
        Failure::bad_request(format!("buildargs must be a JSON object of texts: {error}"))
    };
    let arguments: Option<Map<String, Value>> = serde_json::from_str(text).map_err(invalid)?;
    let mut wishes = Wishes::default();
    let mut left = Map::new();
    for (name, value) in arguments.unwrap_or_default() {
        // The command line split it at the first sign of equality: `constraint:node` and `=node-1`.
        let written = format!("{name}={}", value.as_str().unwrap_or_default());
        if !wishes.add(&written) {
            left.insert(name, value);
        }
    }
    Ok((wishes, Some(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_steer_are_taken_out() {
        let text = r#"{"constraint:node":"=node-1","affinity:container!":"db","A":"1","B":null}"#;
        let (wishes, left) = steering(text).expect("fine");
        assert_eq!(wishes.constraints, ["node==node-1"]);
        assert_eq!(wishes.affinities, ["container!=db"]);
        assert_eq!(Value::from(left), serde_json::json!({"A": "1", "B": null}));
        assert!(steering("[]").is_err());
        assert_eq!(steering("").expect("fine").1, None);
    }
}

//! Building an image: on one engine, which the build's arguments may choose.
//!
//! `--build-arg constraint:region==us` steers as an environment variable does for a container, and isn't passed on.

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
use crate::engine::read_images;
use crate::scheduler::Request as Placement;

/// The builder whose messages are its own business.
const BUILDKIT: &str = "2";

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
    let engine = manager.cluster.choose(&placement)?;
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

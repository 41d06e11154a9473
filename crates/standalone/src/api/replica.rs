//! What a manager does with requests while another one is the primary: it passes them on, streams and connections that
//! are taken over included.
//!
//! Mirrors docker/swarm's `api/replica.go`, which tied a client's connection to the primary of the first request, waited
//! for ever where there was none, and served by itself where the store named it. Reads don't wait for a primary: every
//! manager knows all engines.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, Request, header};

use super::Manager;
use super::reply::Failure;
use crate::engine::Target;
use crate::leadership::Role;

/// A change waits so long for a primary to be elected.
const ELECTION_PATIENCE: Duration = Duration::from_secs(5);
/// Marks a request that was passed on: nobody passes it on again, so that two managers who take each other for the
/// primary don't play it to and fro.
const PASSED_ON: &str = "X-Swarm-Replica";
/// What each manager answers for itself.
const OWN: [&str; 3] = ["/_ping", "/info", "/debug"];

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is this manager's to serve.
    Ours(Request<Body>),
    /// Somebody served it, or nobody does.
    Answered(Result<Response<Body>, Failure>),
}

/// Passes a request on to the primary, where this manager is none.
pub(super) async fn pass_on(manager: &Manager, mut request: Request<Body>) -> Outcome {
    let path = request.uri().path();
    if OWN.iter().any(|own| path.ends_with(own)) {
        return Outcome::Ours(request);
    }
    let is_read = is_read(&request);
    let was_passed_on = request.headers_mut().remove(PASSED_ON).is_some();
    let role = match manager.leadership.role() {
        Role::Replica { primary: None } if !is_read && !was_passed_on => {
            manager.leadership.settled(ELECTION_PATIENCE).await
        }
        role => role,
    };
    match role {
        Role::Primary => Outcome::Ours(request),
        Role::Replica { primary: Some(primary) } if !was_passed_on => {
            to_primary(manager, &primary, request, is_read).await
        }
        Role::Replica { .. } if is_read => Outcome::Ours(request),
        Role::Replica { .. } => {
            Outcome::Answered(Err(Failure::internal("No elected primary cluster manager")))
        }
    }
}

async fn to_primary(
    manager: &Manager,
    primary: &str,
    mut request: Request<Body>,
    is_read: bool,
) -> Outcome {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    tracing::debug!(method = %request.method(), url = path, "Proxy request");
    let spare = is_read.then(|| head(&request));
    request.headers_mut().insert(PASSED_ON, HeaderValue::from_static("1"));
    let target = Target::new(primary, manager.dial.clone());
    // One that is suspended, or whose machine is gone, would never answer.
    let answered = tokio::select! {
        answered = target.forward(request, &path) => answered.map_err(|error| error.to_string()),
        () = manager.leadership.moved_from(primary) => Err("another one was elected".to_owned()),
    };
    match (answered, spare) {
        (Ok(response), _) => Outcome::Answered(Ok(response)),
        (Err(_), Some(spare)) => Outcome::Ours(spare),
        (Err(error), None) => Outcome::Answered(Err(Failure::internal(format!(
            "Unable to reach primary cluster manager ({error}): {primary}"
        )))),
    }
}

/// Whether a request changes nothing, and has no body.
fn is_read(request: &Request<Body>) -> bool {
    [Method::GET, Method::HEAD].contains(request.method())
        && !request.headers().contains_key(header::UPGRADE)
}

/// A request without a body once more.
fn head(request: &Request<Body>) -> Request<Body> {
    let mut head = Request::new(Body::empty());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    head.headers_mut().clone_from(request.headers());
    head
}

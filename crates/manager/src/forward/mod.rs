//! Calls that only the leader can serve are passed on to it, whichever manager they reach, together with who made them.
//!
//! Reads that any manager can answer are not passed on: they wait until this one has what the leader has (Raft thesis,
//! section 6.4), so that no message between managers grows with the cluster.
//!
//! A layer around all services: it looks at a request's path and who leads, and knows no messages. Mirrors what SwarmKit
//! generates as `raftproxy`. Beyond it: a call that never reached a dead leader is made again with the next one, and
//! streams end when their leader is no longer the leader.

mod answer;
mod leader;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use swarm_ca::{ForwardedCaller, PeerIdentity};
use swarm_proto::Channel;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tower::ServiceExt as _;
use tracing::debug;

use answer::Answer;
pub(crate) use leader::Leaders;
use leader::{Leader, Other};

/// The services that the leader alone serves.
const LEADERS_SERVICES: [&str; 8] = [
    "docker.swarmkit.v1.Control",
    "docker.swarmkit.v1.Dispatcher",
    "docker.swarmkit.v1.CA",
    "docker.swarmkit.v1.NodeCA",
    "docker.swarmkit.v1.Logs",
    "docker.swarmkit.v1.LogBroker",
    "docker.swarmkit.v1.ResourceAllocator",
    "docker.swarmkit.v1.RaftMembership",
];
/// Reads that every manager answers from its own replica, once that has all that the leader had when it was asked. Not
/// nodes: who is in reach only the leader knows.
const READS: [&str; 13] = [
    "GetService",
    "ListServices",
    "ListServiceStatuses",
    "GetTask",
    "ListTasks",
    "GetNetwork",
    "ListNetworks",
    "GetSecret",
    "ListSecrets",
    "GetConfig",
    "ListConfigs",
    "GetCluster",
    "ListClusters",
];
/// The root's certificates never change hands, so every manager knows them.
const ROOT_CERTIFICATE: &str = "/docker.swarmkit.v1.CA/GetRootCACertificate";
/// Calls whose request is a stream, which cannot be made twice.
const REQUEST_STREAMS: [&str; 1] = ["/docker.swarmkit.v1.LogBroker/PublishLogs"];
/// Marks a call that was passed on once; twice would be a circle.
const REDIRECT: &str = "redirect";
/// So long a call waits for a leader: an election takes less, and a caller gets its answer within a second.
const PATIENCE: Duration = Duration::from_millis(800);
/// A request that is made again is kept meanwhile; as large as a manager takes it.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// The layer: serves here what this manager may serve, and passes the rest on.
pub(crate) async fn pass_on(
    State(leaders): State<Arc<Leaders>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if !is_leaders(path)
        || leaders.is_leading()
        || (path == ROOT_CERTIFICATE && leaders.knows_cluster())
    {
        return next.run(request).await;
    }
    let deadline = Instant::now() + PATIENCE;
    if is_read(path) && leaders.caught_up().await {
        return next.run(request).await;
    }
    match leaders.find(deadline, None).await {
        Ok(Leader::Own) => next.run(request).await,
        Ok(Leader::Other(_)) if request.headers().contains_key(REDIRECT) => refuse(
            Status::resource_exhausted("more than one redirect to leader: this manager follows"),
        ),
        Ok(Leader::Other(other)) => to_leader(&leaders, other, request, next).await,
        Err(status) => refuse(status),
    }
}

fn is_leaders(path: &str) -> bool {
    path.split('/').nth(1).is_some_and(|service| LEADERS_SERVICES.contains(&service))
}

fn is_read(path: &str) -> bool {
    let method = path.strip_prefix("/docker.swarmkit.v1.Control/");
    method.is_some_and(|method| READS.contains(&method))
}

fn refuse(status: Status) -> Response {
    status.into_http::<Body>().into_response()
}

/// Makes the call at the leader; where it surely did not arrive, at the next one.
async fn to_leader(leaders: &Leaders, first: Other, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + PATIENCE;
    let (mut parts, body) = request.into_parts();
    sign(leaders, &mut parts);
    if REQUEST_STREAMS.contains(&parts.uri.path()) {
        return call(leaders, &first, &parts, tonic::body::Body::new(body))
            .await
            .unwrap_or_else(|failure| refuse(failure.status));
    }
    let Ok(whole) = Limited::new(body, REQUEST_BYTES_MAX).collect().await else {
        return refuse(Status::resource_exhausted("the request is too large"));
    };
    let whole = whole.to_bytes();
    let mut other = first;
    loop {
        let body = tonic::body::Body::new(Full::new(whole.clone()));
        let failure = match call(leaders, &other, &parts, body).await {
            Ok(answer) => return answer,
            Err(failure) => failure,
        };
        debug!(manager.addr = other.addr, status = %failure.status, "the leader was not reached");
        if !failure.is_unsent {
            return refuse(failure.status);
        }
        match leaders.find(deadline, Some(other.raft_id)).await {
            Ok(Leader::Own) => {
                parts.headers.remove(REDIRECT);
                return next.run(Request::from_parts(parts, Body::from(whole))).await;
            }
            Ok(Leader::Other(next_leader)) => other = next_leader,
            Err(status) => return refuse(status),
        }
    }
}

/// Notes for whom the call is made, replacing what the caller itself claimed.
fn sign(leaders: &Leaders, parts: &mut Parts) {
    let peer = parts.extensions.get::<PeerIdentity>().cloned().unwrap_or_default();
    let mut metadata = MetadataMap::from_headers(std::mem::take(&mut parts.headers));
    ForwardedCaller::for_peer(&peer).write(&mut metadata);
    parts.headers = metadata.into_headers();
    if let Ok(own) = leaders.own_addr.parse() {
        parts.headers.insert(REDIRECT, own);
    }
}

/// A call that came to nothing.
struct Failure {
    status: Status,
    /// It surely did not reach the leader.
    is_unsent: bool,
}

async fn call(
    leaders: &Leaders,
    other: &Other,
    parts: &Parts,
    body: tonic::body::Body,
) -> Result<Response, Failure> {
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = parts.headers.clone();
    let channel: Channel =
        leaders.channel(&other.addr).map_err(|status| Failure { status, is_unsent: true })?;
    let calling = channel.oneshot(request);
    let answer = tokio::select! {
        answer = calling => Ok(answer),
        status = leaders.gone(other.raft_id) => Err(status),
    };
    match answer {
        Ok(Ok(answer)) => {
            let deposed = leaders.deposed(other.raft_id);
            Ok(answer.map(|body| Body::new(Answer::new(body, deposed))))
        }
        Ok(Err(error)) => {
            leaders.hang_up(&other.addr);
            let is_unsent = leader::is_unreached(&error);
            Err(Failure {
                status: Status::unavailable(format!(
                    "the leader at {} cannot be reached: {}",
                    other.addr,
                    leader::innermost(&error)
                )),
                is_unsent,
            })
        }
        Err(status) => {
            leaders.hang_up(&other.addr);
            Err(Failure { status, is_unsent: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_leaders, is_read};

    #[test]
    fn knows_what_the_leader_serves() {
        for (path, expect) in [
            ("/docker.swarmkit.v1.Control/ListNodes", true),
            ("/docker.swarmkit.v1.RaftMembership/Join", true),
            ("/docker.swarmkit.v1.Raft/ProcessRaftMessage", false),
            ("/docker.swarmkit.v1.Health/Check", false),
            ("/", false),
        ] {
            assert_eq!(is_leaders(path), expect, "{path}");
        }
    }

    #[test]
    fn knows_what_any_manager_can_answer() {
        for (path, expect) in [
            ("/docker.swarmkit.v1.Control/ListTasks", true),
            ("/docker.swarmkit.v1.Control/ListNodes", false),
            ("/docker.swarmkit.v1.Control/CreateService", false),
            ("/docker.swarmkit.v1.Dispatcher/ListTasks", false),
        ] {
            assert_eq!(is_read(path), expect, "{path}");
        }
    }
}

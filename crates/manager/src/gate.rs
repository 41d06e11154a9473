//! Who may call which service at all, decided before a byte of the request is read or passed on.
//!
//! Each service decides again, with all that it knows; but by then its request was read, and may have been passed on to
//! the leader. Here strangers and workers are turned away at no cost, whatever they send.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::Limited;
use swarm_ca::{Authorizer, PeerIdentity, Role};
use tonic::Status;

/// Requests for certificates are this long at most; a key and a token take a fraction of it.
const OPEN_REQUEST_BYTES_MAX: usize = 64 << 10;

/// The gate of one cluster's manager.
#[derive(Clone)]
pub(crate) struct Gate {
    members: Authorizer,
    even_expired: Authorizer,
}

/// Whom a service is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admits {
    /// Nodes that join, which have no certificate yet.
    Anybody,
    /// Every node of the cluster.
    Members,
    Managers,
    /// Managers that were all away for so long that they must meet again first.
    ManagersEvenExpired,
}

impl Gate {
    pub(crate) fn new(organization: &str) -> Self {
        let members = Authorizer::new(organization);
        Self { even_expired: members.clone().admitting_expired(), members }
    }

    fn check(&self, peer: Option<&PeerIdentity>, admits: Admits) -> Result<(), Status> {
        let (authorizer, roles) = match admits {
            Admits::Anybody => return Ok(()),
            Admits::Members => (&self.members, &[Role::Worker, Role::Manager][..]),
            Admits::Managers => (&self.members, &[Role::Manager][..]),
            Admits::ManagersEvenExpired => (&self.even_expired, &[Role::Manager][..]),
        };
        let mut call = tonic::Request::new(());
        if let Some(peer) = peer {
            call.extensions_mut().insert(peer.clone());
        }
        authorizer.require(&call, roles).map(drop)
    }
}

/// The layer.
pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let admits = admits(request.uri().path());
    if let Err(status) = gate.check(request.extensions().get::<PeerIdentity>(), admits) {
        return status.into_http::<Body>().into_response();
    }
    if admits == Admits::Anybody {
        let limited = request.map(|body| Body::new(Limited::new(body, OPEN_REQUEST_BYTES_MAX)));
        return next.run(limited).await;
    }
    next.run(request).await
}

fn admits(path: &str) -> Admits {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match service.strip_prefix("docker.swarmkit.v1.").unwrap_or_default() {
        "CA" | "NodeCA" => Admits::Anybody,
        "Control" | "Logs" | "RaftMembership" | "Health" | "Watch" => Admits::Managers,
        "Raft" => Admits::ManagersEvenExpired,
        // What is added goes for members until it is named here.
        _ => Admits::Members,
    }
}

#[cfg(test)]
mod tests {
    use swarm_ca::Identity;

    use super::*;

    #[test]
    fn services_are_for_those_whom_they_are_for() {
        let gate = Gate::new("cluster1");
        let identity = |role, organization: &str| {
            Some(Identity { node_id: "n".into(), role, organization: organization.into() })
        };
        let peer = |identity| PeerIdentity { identity, ..PeerIdentity::default() };
        let expired = |expired| PeerIdentity { expired, ..PeerIdentity::default() };
        let stranger = peer(None);
        let worker = peer(identity(Role::Worker, "cluster1"));
        let manager = peer(identity(Role::Manager, "cluster1"));
        let other = peer(identity(Role::Manager, "cluster2"));
        let was_manager = expired(identity(Role::Manager, "cluster1"));
        let was_worker = expired(identity(Role::Worker, "cluster1"));
        for (method, admitted) in [
            ("NodeCA/IssueNodeCertificate", [true; 6]),
            ("CA/GetRootCACertificate", [true; 6]),
            ("Dispatcher/Session", [false, true, true, false, false, false]),
            ("Control/ListNodes", [false, false, true, false, false, false]),
            ("Raft/ProcessRaftMessage", [false, false, true, false, true, false]),
            ("RaftMembership/Join", [false, false, true, false, false, false]),
            ("Unknown/Method", [false, true, true, false, false, false]),
        ] {
            let admits = admits(&format!("/docker.swarmkit.v1.{method}"));
            let peers = [&stranger, &worker, &manager, &other, &was_manager, &was_worker];
            let found = peers.map(|peer| gate.check(Some(peer), admits).is_ok());
            assert_eq!(found, admitted, "{method}");
        }
        assert!(gate.check(None, admits("/")).is_err());
    }
}

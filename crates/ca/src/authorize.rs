//! Who may call what: role and organization of the peer's certificate against what a method asks for.
//!
//! Mirrors SwarmKit's `ca/auth.go`, texts included, and `ca/forward.go`: a manager that passes a call on to the leader
//! says in the metadata for whom, and is believed because it is a manager.

use std::sync::Arc;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Extensions, Request, Status};

use crate::{Identity, PeerIdentity, Role};

const FORWARDED: &str = "forwarded_cert";
/// Node ID, role and organization of the caller.
const CALLER: [&str; 3] = ["forwarded_cert_cn", "forwarded_cert_ou", "forwarded_cert_org"];
/// The same of one whose certificate has expired. Not SwarmKit's: its managers see a caller without certificate.
const EXPIRED_CALLER: [&str; 3] =
    ["forwarded_expired_cert_cn", "forwarded_expired_cert_ou", "forwarded_expired_cert_org"];
const FORWARDED_ADDRESS: &str = "remote_addr";

/// Checks that the peer has one of the roles in this organization. For a cluster whose nodes can be removed, and for
/// calls that managers pass on, use an [`Authorizer`].
pub fn require<T>(
    request: &Request<T>,
    roles: &[Role],
    organization: &str,
) -> Result<Identity, Status> {
    Authorizer::new(organization).require(request, roles)
}

/// The rules of one cluster.
#[derive(Clone)]
pub struct Authorizer {
    organization: String,
    is_removed: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    admits_expired: bool,
}

impl Authorizer {
    /// Admits nodes of the organization (the cluster's ID).
    pub fn new(organization: impl Into<String>) -> Self {
        let organization = organization.into();
        Self { organization, is_removed: Arc::new(|_| false), admits_expired: false }
    }

    /// Admits nodes whose certificate has expired a while ago too. For what they need to get a new one, and only where
    /// nodes that were removed are refused in another way: they are not known as such for ever.
    #[must_use]
    pub fn admitting_expired(self) -> Self {
        Self { admits_expired: true, ..self }
    }

    /// Refuses nodes whose ID the function knows as removed from the swarm; their certificates are still genuine.
    pub fn refusing(self, is_removed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { is_removed: Arc::new(is_removed), ..self }
    }

    /// The peer itself, if it has one of the roles.
    pub fn require<T>(&self, request: &Request<T>, roles: &[Role]) -> Result<Identity, Status> {
        self.direct(request.extensions(), roles)
    }

    /// The one who called: the peer, or the node for which a manager passes the call on.
    pub fn require_caller<T>(
        &self,
        request: &Request<T>,
        roles: &[Role],
    ) -> Result<Identity, Status> {
        match ForwardedCaller::of(request.metadata()) {
            None => self
                .direct(request.extensions(), roles)
                .map_err(|e| denied_by("unauthorized peer role", &e)),
            Some(forwarded) => {
                self.direct(request.extensions(), &[Role::Manager])
                    .map_err(|e| denied_by("unauthorized forwarder role", &e))?;
                self.forwarded(forwarded, roles)
            }
        }
    }

    fn direct(&self, extensions: &Extensions, roles: &[Role]) -> Result<Identity, Status> {
        let identity = extensions
            .get::<PeerIdentity>()
            .and_then(|peer| {
                let expired = peer.expired.as_ref().filter(|_| self.admits_expired);
                peer.identity.as_ref().or(expired).cloned()
            })
            .ok_or_else(|| Status::permission_denied("no client certificates in request"))?;
        if !roles.contains(&identity.role) {
            return Err(denied(format!("remote certificate not part of OUs: {}", list(roles))));
        }
        if (self.is_removed)(&identity.node_id) {
            return Err(denied(format!("node {} was removed from swarm", identity.node_id)));
        }
        if identity.organization != self.organization {
            return Err(denied(format!(
                "remote certificate not part of organization: {}",
                self.organization
            )));
        }
        Ok(identity)
    }

    fn forwarded(&self, caller: ForwardedCaller, roles: &[Role]) -> Result<Identity, Status> {
        let identity = caller
            .identity
            .or(caller.expired.filter(|_| self.admits_expired))
            .ok_or_else(|| denied("missing information in forwarded request".to_owned()))?;
        if !roles.contains(&identity.role) {
            return Err(denied(format!("unauthorized forwarded role, expecting: {}", list(roles))));
        }
        if identity.organization != self.organization {
            return Err(denied(format!("organization mismatch, expecting: {}", self.organization)));
        }
        // Whoever passed the call on may not know it yet.
        if (self.is_removed)(&identity.node_id) {
            return Err(denied(format!("node {} was removed from swarm", identity.node_id)));
        }
        Ok(identity)
    }
}

/// What a manager says about the node for which it passes a call on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedCaller {
    /// The original caller; `None` for one without certificate, and for incomplete information.
    pub identity: Option<Identity>,
    /// The original caller, where its certificate has expired a while ago.
    pub expired: Option<Identity>,
    /// Where the original caller called from, as text.
    pub remote_addr: Option<String>,
}

impl ForwardedCaller {
    /// Reads the metadata of a call; `None` for a call that was not passed on.
    pub fn of(metadata: &MetadataMap) -> Option<Self> {
        let text = |key: &str| {
            metadata.get(key).and_then(|value| value.to_str().ok()).filter(|v| !v.is_empty())
        };
        if text(FORWARDED) != Some("true") {
            return None;
        }
        let identity = |[node_id, role, organization]: [&str; 3]| {
            Some(Identity {
                node_id: text(node_id)?.to_owned(),
                role: metadata
                    .get_all(role)
                    .iter()
                    .find_map(|ou| Role::from_ou(ou.to_str().ok()?))?,
                organization: text(organization)?.to_owned(),
            })
        };
        Some(Self {
            identity: identity(CALLER),
            expired: identity(EXPIRED_CALLER),
            remote_addr: text(FORWARDED_ADDRESS).map(str::to_owned),
        })
    }

    /// The information about a peer whose call we pass on. A peer without certificate is passed on as such: without
    /// this the call would look like our own.
    pub fn for_peer(peer: &PeerIdentity) -> Self {
        Self {
            identity: peer.identity.clone(),
            expired: peer.expired.clone(),
            remote_addr: peer.remote_addr.map(|addr| addr.to_string()),
        }
    }

    /// Writes the metadata of a call that is passed on, replacing what the caller itself claimed.
    pub fn write(&self, metadata: &mut MetadataMap) {
        let mut set = |key: &'static str, value: &str| {
            metadata.remove(key);
            if let Ok(value) = MetadataValue::try_from(value) {
                metadata.insert(key, value);
            }
        };
        set(FORWARDED, "true");
        for (keys, identity) in [(CALLER, &self.identity), (EXPIRED_CALLER, &self.expired)] {
            let identity = identity.as_ref();
            set(keys[0], identity.map_or("", |i| &i.node_id));
            set(keys[1], identity.map_or("", |i| i.role.as_str()));
            set(keys[2], identity.map_or("", |i| &i.organization));
        }
        set(FORWARDED_ADDRESS, self.remote_addr.as_deref().unwrap_or(""));
    }
}

fn denied(what: String) -> Status {
    Status::permission_denied(format!("Permission denied: {what}"))
}

fn denied_by(what: &str, cause: &Status) -> Status {
    denied(format!("{what}: {}", rpc_error_text(cause)))
}

/// Roles as Go prints a list of them.
fn list(roles: &[Role]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    format!("[{}]", names.join(" "))
}

/// A status as Go's gRPC prints it, which is how Docker's users know these errors.
pub fn rpc_error_text(status: &Status) -> String {
    let code = match status.code() {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    };
    format!("rpc error: code = {code} desc = {}", status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(role: Option<Role>, organization: &str) -> Request<()> {
        let mut request = Request::new(());
        let identity = role.map(|role| Identity {
            node_id: "n1".into(),
            role,
            organization: organization.to_owned(),
        });
        request.extensions_mut().insert(PeerIdentity { identity, ..PeerIdentity::default() });
        request
    }

    #[test]
    fn checks_role_and_organization() {
        use Role::{Manager, Worker};
        for (role, organization, allowed, refusal) in [
            (Some(Manager), "org", vec![Manager], ""),
            (Some(Worker), "org", vec![Worker, Manager], ""),
            (
                Some(Worker),
                "org",
                vec![Manager],
                "Permission denied: remote certificate not part of OUs: [swarm-manager]",
            ),
            (
                Some(Manager),
                "other",
                vec![Manager],
                "Permission denied: remote certificate not part of organization: org",
            ),
            (None, "org", vec![Manager], "no client certificates in request"),
        ] {
            let result = require(&request(role, organization), &allowed, "org");
            assert_eq!(result.as_ref().map_or_else(Status::message, |_| ""), refusal);
            let through =
                Authorizer::new("org").require_caller(&request(role, organization), &allowed);
            let expect = format!(
                "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = {refusal}"
            );
            assert_eq!(
                through.map_err(|e| e.message().to_owned()).err(),
                (!refusal.is_empty()).then_some(expect)
            );
        }
    }

    #[test]
    fn refuses_removed_nodes() {
        let authorizer = Authorizer::new("org").refusing(|id| id == "n1");
        let refused = authorizer
            .require(&request(Some(Role::Worker), "org"), &[Role::Worker])
            .expect_err("refused");
        assert_eq!(refused.message(), "Permission denied: node n1 was removed from swarm");
        let authorizer = Authorizer::new("org").refusing(|id| id == "gone");
        let identity =
            Identity { node_id: "gone".into(), role: Role::Worker, organization: "org".into() };
        let caller = ForwardedCaller { identity: Some(identity), expired: None, remote_addr: None };
        let mut passed_on = request(Some(Role::Manager), "org");
        caller.write(passed_on.metadata_mut());
        let refused = authorizer.require_caller(&passed_on, &[Role::Worker]).expect_err("refused");
        assert_eq!(refused.message(), "Permission denied: node gone was removed from swarm");
    }

    #[test]
    fn expired_certificates_count_where_they_are_admitted() {
        let identity = |node_id: &str, role| Identity {
            node_id: node_id.into(),
            role,
            organization: "org".into(),
        };
        let worker = identity("w", Role::Worker);
        let strict = Authorizer::new("org");
        let lenient = strict.clone().admitting_expired();
        let mut direct = Request::new(());
        let expired = Some(worker.clone());
        direct.extensions_mut().insert(PeerIdentity { expired, ..PeerIdentity::default() });
        let caller = ForwardedCaller::for_peer(direct.extensions().get().expect("a peer"));
        let mut passed_on = request(Some(Role::Manager), "org");
        caller.write(passed_on.metadata_mut());
        for request in [&direct, &passed_on] {
            assert!(strict.require_caller(request, &[Role::Worker]).is_err());
            assert!(lenient.require_caller(request, &[Role::Manager]).is_err());
            let admitted = lenient.require_caller(request, &[Role::Worker]);
            assert_eq!(admitted.expect("admitted"), worker);
        }
    }

    #[test]
    fn believes_only_managers_about_others() {
        let worker =
            Identity { node_id: "w".into(), role: Role::Worker, organization: "org".into() };
        let claim = ForwardedCaller {
            identity: Some(worker.clone()),
            expired: None,
            remote_addr: Some("10.0.0.9:1".into()),
        };
        let authorizer = Authorizer::new("org");
        for (forwarder, caller, expect) in [
            (Some(Role::Manager), claim.clone(), Ok(worker)),
            (
                Some(Role::Worker),
                claim.clone(),
                Err(
                    "Permission denied: unauthorized forwarder role: rpc error: code = PermissionDenied desc = Permission denied: remote certificate not part of OUs: [swarm-manager]",
                ),
            ),
            (
                Some(Role::Manager),
                ForwardedCaller { identity: None, ..claim },
                Err("Permission denied: missing information in forwarded request"),
            ),
        ] {
            let mut request = request(forwarder, "org");
            caller.write(request.metadata_mut());
            assert_eq!(ForwardedCaller::of(request.metadata()), Some(caller));
            let result = authorizer.require_caller(&request, &[Role::Worker]);
            assert_eq!(result.as_ref().map_err(Status::message), expect.as_ref().map_err(|e| *e));
        }
    }
}

//! Who calls, by the certificate alone, and from where.

use swarm_ca::{Authorizer, ForwardedCaller, PeerIdentity, Role};
use swarm_store::Tables;
use tonic::{Request, Status};

/// A node that may use the service.
pub(crate) struct Caller {
    /// The node of the certificate; for a call that a manager passes on, of the original caller's.
    pub(crate) node_id: String,
    /// Its address; none for calls within this process.
    pub(crate) addr: Option<String>,
}

impl Caller {
    /// A worker or manager of this cluster that was not removed from it; anybody else is refused.
    pub(crate) fn of<T>(request: &Request<T>, tables: &Tables) -> Result<Self, Status> {
        let identity =
            authorizer(tables)?.require_caller(request, &[Role::Worker, Role::Manager])?;
        let addr = match ForwardedCaller::of(request.metadata()) {
            Some(forwarded) => forwarded.remote_addr.and_then(|addr| host(&addr)),
            None => request
                .extensions()
                .get::<PeerIdentity>()
                .and_then(|peer| peer.remote_addr)
                .map(|addr| addr.ip().to_canonical().to_string()),
        };
        Ok(Self { node_id: identity.node_id, addr })
    }
}

/// The rules of this cluster for callers of gRPC services: its organization, without the nodes removed from it.
///
/// # Errors
/// Unavailable where the cluster object does not exist yet.
pub fn authorizer(tables: &Tables) -> Result<Authorizer, Status> {
    let cluster = tables
        .cluster()
        .ok_or_else(|| Status::unavailable("the cluster has not been set up yet"))?
        .clone();
    let organization = cluster.id.clone();
    Ok(Authorizer::new(organization)
        .refusing(move |id| cluster.blacklisted_certificates.contains_key(id)))
}

/// The host of `host:port`.
fn host(addr: &str) -> Option<String> {
    let (host, _) = addr.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn finds_hosts() {
        for (addr, expect) in
            [("10.0.0.1:80", Some("10.0.0.1")), ("[::1]:80", Some("::1")), ("@", None)]
        {
            assert_eq!(host(addr).as_deref(), expect);
        }
    }
}

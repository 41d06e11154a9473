//! The cluster's certificate authority as nodes see it: the services `NodeCA` and `CA`.
//!
//! Mirrors SwarmKit's `ca/server.go`. A request only leaves a record in the store; the [`Signer`] on the leader signs
//! what is pending, whoever recorded it, so that nothing is lost when leadership changes. The [`Rotator`] carries nodes over to a new
//! root.

mod issue;
mod rotation;
mod signer;
#[cfg(test)]
mod tests;
mod throttle;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use swarm_ca::{Authorizer, Role};
use swarm_proto::v1::ca_server::Ca;
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::node_ca_server::NodeCa;
use swarm_proto::v1::{
    GetRootCaCertificateRequest, GetRootCaCertificateResponse, GetUnlockKeyRequest,
    GetUnlockKeyResponse, IssueNodeCertificateRequest, IssueNodeCertificateResponse, Node,
    NodeCertificateStatusRequest, NodeCertificateStatusResponse, Version,
};
use swarm_store::{Kind, Object as _, Store, Tables};
use tonic::{Request, Response, Status};

use throttle::Throttle;

pub use rotation::Rotator;
pub use signer::Signer;

/// Serves `NodeCA` and `CA` over a store.
#[derive(Clone)]
pub struct NodeCaService {
    store: Store,
    authorizer: Authorizer,
    throttle: Arc<Mutex<Throttle>>,
}

impl NodeCaService {
    /// Serves the cluster with this ID, which certificates carry as their organization.
    pub fn new(store: Store, cluster_id: &str) -> Self {
        let tables = store.clone();
        let authorizer = Authorizer::new(cluster_id)
            .refusing(move |node_id| is_blacklisted(&tables.view(), node_id));
        Self { store, authorizer, throttle: Arc::default() }
    }

    fn refuse_too_often(&self, node_id: &str) -> Result<(), Status> {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        match throttle.admits(node_id, Instant::now()) {
            true => Ok(()),
            false => Err(Status::resource_exhausted(format!(
                "node {node_id} asks for certificates too often"
            ))),
        }
    }

    /// Who is asking, if it has a certificate of this cluster, be it directly or through another manager.
    fn member<T>(&self, request: &Request<T>) -> Option<swarm_ca::Identity> {
        let any = [Role::Worker, Role::Manager];
        // A node that was removed is not in the store, and gets nothing with an expired certificate either.
        self.authorizer.clone().admitting_expired().require_caller(request, &any).ok()
    }
}

/// Whether a node was removed from the cluster while its certificate was still valid.
fn is_blacklisted(tables: &Tables, node_id: &str) -> bool {
    tables.cluster().is_some_and(|cluster| cluster.blacklisted_certificates.contains_key(node_id))
}

/// What a status request of this moment is answered; `None` while the certificate is neither issued nor refused.
fn final_answer(node: &Node) -> Option<NodeCertificateStatusResponse> {
    let certificate = node.certificate.as_ref()?;
    let status = certificate.status.clone().unwrap_or_default();
    match status.state() {
        State::Issued | State::Failed | State::Rotate => Some(NodeCertificateStatusResponse {
            status: Some(status),
            certificate: Some(certificate.clone()),
        }),
        State::Unknown | State::Renew | State::Pending => None,
    }
}

#[tonic::async_trait]
impl NodeCa for NodeCaService {
    async fn issue_node_certificate(
        &self,
        request: Request<IssueNodeCertificateRequest>,
    ) -> Result<Response<IssueNodeCertificateResponse>, Status> {
        if request.get_ref().csr.is_empty() {
            return Err(Status::invalid_argument("InvalidArgument"));
        }
        let answer = match self.member(&request) {
            Some(member) => {
                self.refuse_too_often(&member.node_id)?;
                issue::renew(&self.store, &member.node_id, request.into_inner().csr).await
            }
            None => issue::admit(&self.store, request.into_inner()).await,
        };
        Ok(Response::new(answer?))
    }

    async fn node_certificate_status(
        &self,
        request: Request<NodeCertificateStatusRequest>,
    ) -> Result<Response<NodeCertificateStatusResponse>, Status> {
        let node_id = request.into_inner().node_id;
        if node_id.is_empty() {
            return Err(Status::invalid_argument("InvalidArgument"));
        }
        let (mut tables, mut watch) = self.store.view_and_watch(&[Kind::Node]);
        loop {
            let node = tables.get::<Node>(&node_id).ok_or_else(|| Status::not_found("NotFound"))?;
            if let Some(answer) = final_answer(node) {
                return Ok(Response::new(answer));
            }
            tables = watch.next().await.tables;
        }
    }
}

#[tonic::async_trait]
impl Ca for NodeCaService {
    async fn get_root_ca_certificate(
        &self,
        _request: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        let tables = self.store.view();
        let root = tables.cluster().and_then(|cluster| cluster.root_ca.as_ref());
        let certificate = root.ok_or_else(still_starting)?.ca_cert.clone();
        Ok(Response::new(GetRootCaCertificateResponse { certificate }))
    }

    async fn get_unlock_key(
        &self,
        request: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        self.authorizer.require_caller(&request, &[Role::Manager])?;
        let tables = self.store.view();
        let cluster = tables.cluster().ok_or_else(still_starting)?;
        let encryption = cluster.spec.as_ref().and_then(|spec| spec.encryption_config.as_ref());
        let locked = encryption.is_some_and(|encryption| encryption.auto_lock_managers);
        let key = cluster.unlock_keys.iter().find(|key| key.subsystem == Role::Manager.as_str());
        Ok(Response::new(GetUnlockKeyResponse {
            unlock_key: key.filter(|_| locked).map(|key| key.key.clone()).unwrap_or_default(),
            version: Some(Version { index: cluster.version() }),
        }))
    }
}

/// The cluster object isn't there yet: this manager has just begun to lead, or to catch up.
fn still_starting() -> Status {
    Status::aborted("CA signer is still starting")
}

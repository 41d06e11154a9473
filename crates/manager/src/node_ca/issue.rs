//! Records requests for certificates: new nodes by join token, members by their present certificate.

use swarm_ca::{JoinToken, Role};
use swarm_proto::id::new_id;
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::node_spec::Membership;
use swarm_proto::v1::{
    Certificate, Cluster, IssuanceStatus, IssueNodeCertificateRequest,
    IssueNodeCertificateResponse, Node, NodeSpec,
};
use swarm_store::Store;
use tonic::Status;
use tracing::debug;

use super::still_starting;
use crate::failure::Failure;

/// Admits a new node if its token is one of the cluster's; the token decides the role.
pub(super) async fn admit(
    store: &Store,
    request: IssueNodeCertificateRequest,
) -> Result<IssueNodeCertificateResponse, Failure> {
    let is_wrong = |cluster: &Cluster| role_of_token(cluster, &request.token).is_none();
    if store.view().cluster().is_some_and(|cluster| is_wrong(cluster)) {
        // Strangers don't reach the store's writer.
        return Err(wrong_token().into());
    }
    let (node_id, role) = store
        .update(|transaction| {
            let cluster = transaction.cluster().ok_or_else(still_starting)?;
            let role = role_of_token(cluster, &request.token).ok_or_else(wrong_token)?;
            // Identifiers have 127 random bits; a collision would be refused as an existing object.
            let node_id = new_id();
            let node = new_node(&node_id, role, &request, cluster.vxlanudp_port);
            transaction.create(node)?;
            Ok::<_, Failure>((node_id, role))
        })
        .await?;
    debug!(node.id = node_id, node.role = %role, "new node admitted");
    Ok(IssueNodeCertificateResponse { node_id, node_membership: Membership::Accepted.into() })
}

/// Records that a member wants a new certificate; it will be for the role that the member has by now.
pub(super) async fn renew(
    store: &Store,
    node_id: &str,
    csr: Vec<u8>,
) -> Result<IssueNodeCertificateResponse, Failure> {
    let membership = store
        .update(|transaction| {
            let stored = transaction.get::<Node>(node_id).ok_or_else(|| {
                Status::not_found(format!(
                    "node {node_id} not found when attempting to renew certificate"
                ))
            })?;
            let mut node = Node::clone(stored);
            node.certificate = Some(certificate(node_id, node.role, csr, State::Renew));
            let membership = node.spec.as_ref().map_or(0, |spec| spec.membership);
            transaction.update(node)?;
            Ok::<_, Failure>(membership)
        })
        .await?;
    debug!(node.id = node_id, "certificate renewal requested");
    Ok(IssueNodeCertificateResponse { node_id: node_id.to_owned(), node_membership: membership })
}

fn wrong_token() -> Status {
    Status::invalid_argument("A valid join token is necessary to join this cluster")
}

fn role_of_token(cluster: &Cluster, presented: &str) -> Option<Role> {
    let tokens = cluster.root_ca.as_ref()?.join_tokens.as_ref()?;
    [(&tokens.manager, Role::Manager), (&tokens.worker, Role::Worker)]
        .into_iter()
        .find(|(token, _)| JoinToken::parse(token).is_ok_and(|token| token.matches(presented)))
        .map(|(_, role)| role)
}

fn new_node(
    node_id: &str,
    role: Role,
    request: &IssueNodeCertificateRequest,
    vxlanudp_port: u32,
) -> Node {
    let role = role.to_proto() as i32;
    Node {
        id: node_id.to_owned(),
        role,
        certificate: Some(certificate(node_id, role, request.csr.clone(), State::Pending)),
        spec: Some(NodeSpec {
            desired_role: role,
            membership: Membership::Accepted.into(),
            availability: request.availability,
            ..NodeSpec::default()
        }),
        vxlanudp_port,
        ..Node::default()
    }
}

fn certificate(node_id: &str, role: i32, csr: Vec<u8>, state: State) -> Certificate {
    Certificate {
        csr,
        cn: node_id.to_owned(),
        role,
        status: Some(IssuanceStatus { state: state.into(), ..IssuanceStatus::default() }),
        ..Certificate::default()
    }
}

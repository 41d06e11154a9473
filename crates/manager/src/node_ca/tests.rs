//! Joining and renewing against the real services and signer, in this process.

use swarm_ca::{
    CaError, CertificateRequest, Identity, JoinToken, PeerIdentity, Role, RootCa, TlsMaterials,
    request_certificate,
};
use swarm_proto::Channel;
use swarm_proto::v1::ca_client::CaClient;
use swarm_proto::v1::ca_server::CaServer;
use swarm_proto::v1::node_ca_client::NodeCaClient;
use swarm_proto::v1::node_ca_server::NodeCaServer;
use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::*;
use swarm_store::{Error, ImmediateProposer, Store};
use tonic::service::Routes;
use tonic::{Code, Request};
use tower::ServiceExt as _;

use super::{NodeCaService, Rotator, Signer};

const CLUSTER: &str = "cluster1";

struct World {
    store: Store,
    root: RootCa,
    service: NodeCaService,
}

impl World {
    async fn new() -> Self {
        let store = ImmediateProposer::store();
        let root = RootCa::create().expect("created");
        let token = || JoinToken::generate(root.digest()).to_string();
        let annotations = Annotations { name: "default".into(), ..Default::default() };
        let cluster = Cluster {
            id: CLUSTER.into(),
            spec: Some(ClusterSpec { annotations: Some(annotations), ..Default::default() }),
            root_ca: Some(swarm_proto::v1::RootCa {
                ca_cert: root.certificates_pem().to_vec(),
                ca_key: root.key_pem().expect("a key").to_vec(),
                join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        store.update(|tx| tx.create(cluster)).await.expect("created");
        let service = NodeCaService::new(store.clone(), CLUSTER);
        let identity = Identity {
            node_id: "leader".into(),
            role: Role::Manager,
            organization: CLUSTER.into(),
        };
        let materials = TlsMaterials::issue(root.clone(), &identity).expect("issued");
        tokio::spawn(Rotator::new(store.clone()).run());
        tokio::spawn(Signer::new(store.clone(), CLUSTER, materials).run());
        Self { store, root, service }
    }

    fn tokens(&self) -> JoinTokens {
        let tables = self.store.view();
        let cluster = tables.cluster().expect("a cluster");
        cluster.root_ca.clone().and_then(|root| root.join_tokens).expect("tokens")
    }

    /// The services as a peer with this identity meets them.
    fn channel(&self, identity: Option<Identity>) -> Channel {
        let routes = Routes::default()
            .add_service(NodeCaServer::new(self.service.clone()))
            .add_service(CaServer::new(self.service.clone()))
            .prepare();
        let peer = PeerIdentity { identity, ..PeerIdentity::default() };
        swarm_proto::channel::local(routes.map_request(move |mut request: http::Request<_>| {
            request.extensions_mut().insert(peer.clone());
            request
        }))
    }

    async fn join(&self, token: String, availability: Availability) -> Result<Identity, CaError> {
        let request = CertificateRequest { token, availability: availability.into() };
        let issued = request_certificate(self.channel(None), &self.root, &request).await?;
        Ok(issued.certificate.identity().clone())
    }

    async fn change(&self, node_id: &str, change: impl Fn(&mut Node)) {
        let node_id = node_id.to_owned();
        self.store
            .update(|tx| {
                let mut node = Node::clone(tx.get::<Node>(&node_id).expect("the node"));
                change(&mut node);
                tx.update(node)
            })
            .await
            .expect("updated");
    }
}

#[tokio::test]
async fn the_token_decides_the_role() {
    let world = World::new().await;
    let tokens = world.tokens();
    for (token, availability, role) in [
        (tokens.worker.clone(), Availability::Drain, Role::Worker),
        (tokens.worker, Availability::Active, Role::Worker),
        (tokens.manager, Availability::Active, Role::Manager),
    ] {
        let identity = world.join(token, availability).await.expect("joined");
        assert_eq!((identity.role, identity.organization.as_str()), (role, CLUSTER));
        let tables = world.store.view();
        let node = tables.get::<Node>(&identity.node_id).expect("recorded");
        let spec = node.spec.as_ref().expect("a spec");
        assert_eq!((spec.availability(), node.role()), (availability, role.to_proto()));
        assert_eq!(spec.desired_role(), role.to_proto());
    }
}

#[tokio::test]
async fn a_wrong_token_leaves_no_trace() {
    let world = World::new().await;
    for token in [String::new(), JoinToken::generate(world.root.digest()).to_string()] {
        let error = world.join(token, Availability::Active).await.expect_err("refused");
        assert_eq!(
            error.to_string(),
            "rpc error: code = InvalidArgument desc = \
             A valid join token is necessary to join this cluster"
        );
    }
    assert_eq!(world.store.view().len::<Node>(), 0);
}

#[tokio::test]
async fn a_renewal_follows_the_role() {
    let world = World::new().await;
    let joined = world.join(world.tokens().worker, Availability::Active).await.expect("joined");
    world.change(&joined.node_id, |node| node.set_role(NodeRole::Manager)).await;
    let channel = world.channel(Some(joined.clone()));
    let renewed = request_certificate(channel, &world.root, &CertificateRequest::default()).await;
    let promoted = Identity { role: Role::Manager, ..joined.clone() };
    assert_eq!(*renewed.expect("renewed").certificate.identity(), promoted);
    // A member of another cluster is a stranger without token.
    let stranger = Identity { organization: "other".into(), ..joined.clone() };
    let channel = world.channel(Some(stranger));
    let refused = request_certificate(channel, &world.root, &CertificateRequest::default()).await;
    assert!(
        matches!(refused.map(|_| ()), Err(CaError::Remote(status)) if status.code() == Code::InvalidArgument)
    );
    // A node that is gone gets nothing.
    world.store.update(|tx| tx.delete::<Node>(&joined.node_id)).await.expect("deleted");
    let channel = world.channel(Some(joined.clone()));
    let refused = request_certificate(channel, &world.root, &CertificateRequest::default()).await;
    let text = format!("node {} not found when attempting to renew certificate", joined.node_id);
    assert!(
        matches!(refused.map(|_| ()), Err(CaError::Remote(status)) if status.message() == text)
    );
}

#[tokio::test]
async fn removed_nodes_are_strangers() {
    let world = World::new().await;
    let joined = world.join(world.tokens().worker, Availability::Active).await.expect("joined");
    let removed = joined.node_id.clone();
    world
        .store
        .update(|tx| {
            let mut cluster = Cluster::clone(tx.cluster().expect("a cluster"));
            cluster.blacklisted_certificates.insert(removed, BlacklistedCertificate::default());
            tx.update(cluster)
        })
        .await
        .expect("updated");
    let channel = world.channel(Some(joined));
    let refused = request_certificate(channel, &world.root, &CertificateRequest::default()).await;
    assert!(
        matches!(refused.map(|_| ()), Err(CaError::Remote(status)) if status.code() == Code::InvalidArgument)
    );
}

#[tokio::test]
async fn rubbish_is_answered_as_failed() {
    let world = World::new().await;
    let mut client = NodeCaClient::new(world.channel(None));
    let request = IssueNodeCertificateRequest {
        csr: b"rubbish".to_vec(),
        token: world.tokens().worker,
        ..Default::default()
    };
    let node_id =
        client.issue_node_certificate(request).await.expect("recorded").into_inner().node_id;
    let answer = client.node_certificate_status(NodeCertificateStatusRequest { node_id }).await;
    let status = answer.expect("answered").into_inner().status.expect("a status");
    assert_eq!(status.state(), issuance_status::State::Failed);
    assert_eq!(status.err, "failed to sign node certificate: not a PEM request");
    for (csr, expect) in [(vec![], Code::InvalidArgument)] {
        let request = IssueNodeCertificateRequest { csr, ..Default::default() };
        assert_eq!(
            client.issue_node_certificate(request).await.expect_err("refused").code(),
            expect
        );
    }
    for (node_id, expect) in [("", Code::InvalidArgument), ("nobody", Code::NotFound)] {
        let request = NodeCertificateStatusRequest { node_id: node_id.into() };
        assert_eq!(
            client.node_certificate_status(request).await.expect_err("refused").code(),
            expect
        );
    }
}

#[tokio::test]
async fn only_managers_get_the_unlock_key() {
    let world = World::new().await;
    let identity = |role| Identity { node_id: "n".into(), role, organization: CLUSTER.into() };
    for (peer, expect) in [
        (None, Some(Code::PermissionDenied)),
        (Some(identity(Role::Worker)), Some(Code::PermissionDenied)),
        (Some(identity(Role::Manager)), None),
    ] {
        let mut client = CaClient::new(world.channel(peer));
        let answer = client.get_unlock_key(Request::new(GetUnlockKeyRequest {})).await;
        assert_eq!(answer.err().map(|status| status.code()), expect);
        let root = client.get_root_ca_certificate(GetRootCaCertificateRequest {}).await;
        assert_eq!(
            root.expect("anyone may").into_inner().certificate,
            world.root.certificates_pem()
        );
    }
}

#[tokio::test]
async fn the_signer_ends_with_the_leadership() {
    let world = World::new().await;
    world.store.lost_leadership();
    let refused =
        world.join(world.tokens().worker, Availability::Active).await.expect_err("refused");
    assert!(
        matches!(refused, CaError::Remote(status) if status.message() == Error::NotLeader.to_string())
    );
}

//! Joining, authorization and renewal over real mutual TLS on loopback, with an authority that signs at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use swarm_ca::{
    CaError, CertificateFiles, CertificateRequest, Credentials, Identity, JoinToken,
    NodeCertificate, PeerIdentity, Renewer, Role, RootCa, SigningRequest, TlsMaterials, Validity,
    connect, connect_express, download_root_ca, request_certificate, require, rpc_error_text,
    serve,
};
use swarm_proto::v1::ca_client::CaClient;
use swarm_proto::v1::ca_server::{Ca, CaServer};
use swarm_proto::v1::issuance_status::State;
use swarm_proto::v1::node_ca_server::{NodeCa, NodeCaServer};
use swarm_proto::v1::*;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

const CLUSTER: &str = "cluster1";

fn identity(node_id: &str, role: Role, organization: &str) -> Identity {
    Identity { node_id: node_id.into(), role, organization: organization.into() }
}

/// Signs whatever has the right token; renews for members, as managers.
#[derive(Clone)]
struct Authority {
    root: RootCa,
    token: JoinToken,
    issued: Arc<Mutex<Vec<(String, Certificate)>>>,
    tokens_seen: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl NodeCa for Authority {
    async fn issue_node_certificate(
        &self,
        request: Request<IssueNodeCertificateRequest>,
    ) -> Result<Response<IssueNodeCertificateResponse>, Status> {
        let member =
            request.extensions().get::<PeerIdentity>().and_then(|peer| peer.identity.clone());
        let request = request.into_inner();
        self.tokens_seen.lock().unwrap().push(request.token.clone());
        let identity = match member {
            Some(member) => identity(&member.node_id, Role::Manager, CLUSTER),
            None if self.token.matches(&request.token) => identity("joined", Role::Worker, CLUSTER),
            None => {
                return Err(Status::invalid_argument(
                    "A valid join token is necessary to join this cluster",
                ));
            }
        };
        let chain = self.root.sign(&request.csr, &identity, Duration::from_secs(7200)).unwrap();
        let certificate =
            Certificate { csr: request.csr, certificate: chain, ..Default::default() };
        self.issued.lock().unwrap().push((identity.node_id.clone(), certificate));
        Ok(Response::new(IssueNodeCertificateResponse {
            node_id: identity.node_id,
            ..Default::default()
        }))
    }

    async fn node_certificate_status(
        &self,
        request: Request<NodeCertificateStatusRequest>,
    ) -> Result<Response<NodeCertificateStatusResponse>, Status> {
        let id = request.into_inner().node_id;
        let certificate = self
            .issued
            .lock()
            .unwrap()
            .iter()
            .rev()
            .find(|(n, _)| *n == id)
            .map(|(_, c)| c.clone());
        let status = Some(IssuanceStatus { state: State::Issued as i32, ..Default::default() });
        Ok(Response::new(NodeCertificateStatusResponse { status, certificate }))
    }
}

#[tonic::async_trait]
impl Ca for Authority {
    async fn get_root_ca_certificate(
        &self,
        _request: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        let certificate = self.root.certificates_pem().to_vec();
        Ok(Response::new(GetRootCaCertificateResponse { certificate }))
    }

    async fn get_unlock_key(
        &self,
        request: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        require(&request, &[Role::Manager], CLUSTER)?;
        Ok(Response::new(GetUnlockKeyResponse::default()))
    }
}

/// Starts a manager; gives its authority, materials and address.
async fn manager() -> (Authority, TlsMaterials, SocketAddr) {
    let root = RootCa::create().unwrap();
    let materials =
        TlsMaterials::issue(root.clone(), &identity("manager", Role::Manager, CLUSTER)).unwrap();
    let token = JoinToken::generate(root.digest());
    let authority = Authority { root, token, issued: Arc::default(), tokens_seen: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut routes = Routes::default();
    routes = routes
        .add_service(NodeCaServer::new(authority.clone()))
        .add_service(CaServer::new(authority.clone()));
    tokio::spawn(serve(listener, materials.clone(), routes, None, std::future::pending()));
    (authority, materials, addr)
}

async fn join(addr: SocketAddr, token: &JoinToken) -> Result<(RootCa, NodeCertificate), CaError> {
    let root = download_root_ca(&addr.to_string(), token.digest()).await?;
    let channel = connect(&addr.to_string(), Credentials::Joining(root.clone()))?;
    let request = CertificateRequest { token: token.to_string(), availability: 0 };
    let issued = request_certificate(channel, &root, &request).await?;
    Ok((root, issued.certificate))
}

async fn unlock_key(addr: SocketAddr, credentials: Credentials) -> Result<(), Status> {
    let channel = connect(&addr.to_string(), credentials).unwrap();
    CaClient::new(channel).get_unlock_key(GetUnlockKeyRequest {}).await.map(|_| ())
}

#[tokio::test]
async fn a_worker_joins_and_opens_no_manager_call() {
    let (authority, _, addr) = manager().await;
    let (root, node) = join(addr, &authority.token).await.unwrap();
    assert_eq!(*node.identity(), identity("joined", Role::Worker, CLUSTER));
    let refused = unlock_key(addr, Credentials::Member(TlsMaterials::new(root, node).unwrap()))
        .await
        .unwrap_err();
    assert_eq!(
        rpc_error_text(&refused),
        "rpc error: code = PermissionDenied desc = \
         Permission denied: remote certificate not part of OUs: [swarm-manager]"
    );
    let anonymous = unlock_key(addr, Credentials::Joining(authority.root)).await.unwrap_err();
    assert_eq!(anonymous.message(), "no client certificates in request");
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let (authority, _, addr) = manager().await;
    let wrong = JoinToken::generate(authority.root.digest());
    let error = join(addr, &wrong).await.map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
    );
}

#[tokio::test]
async fn no_secret_leaves_for_a_wrong_root() {
    let (authority, _, addr) = manager().await;
    let foreign = JoinToken::generate(RootCa::create().unwrap().digest());
    let error = join(addr, &foreign).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, CaError::FingerprintMismatch { expected } if *expected == foreign.digest().to_hex())
    );
    // Nor over a connection to someone whom the expected root didn't certify.
    let channel =
        connect(&addr.to_string(), Credentials::Joining(RootCa::create().unwrap())).unwrap();
    let request = CertificateRequest { token: foreign.to_string(), availability: 0 };
    request_certificate(channel, &authority.root, &request).await.map(|_| ()).unwrap_err();
    assert!(authority.tokens_seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn strangers_and_the_expired_are_not_let_in() {
    let (authority, _, addr) = manager().await;
    let root = authority.root.clone();
    let member = |role, organization| {
        Credentials::Member(
            TlsMaterials::issue(root.clone(), &identity("x", role, organization)).unwrap(),
        )
    };
    unlock_key(addr, member(Role::Manager, CLUSTER)).await.unwrap();
    // Another organization under the same root: our side refuses the server already.
    let refused = unlock_key(addr, member(Role::Manager, "other")).await.unwrap_err();
    assert!(format!("{refused:?}").contains("not that of a manager of this swarm"), "{refused:?}");
    // A certificate of the right name from another root.
    let impostor = RootCa::create().unwrap();
    let (key, chain) = impostor.issue(&identity("x", Role::Manager, CLUSTER)).unwrap();
    assert!(NodeCertificate::from_pem(&chain, &key, &root).is_err());
    // An expired certificate of ours.
    let request = SigningRequest::generate().unwrap();
    let hour = Duration::from_secs(3600);
    let past =
        Validity { not_before: SystemTime::now() - 3 * hour, not_after: SystemTime::now() - hour };
    let chain =
        root.sign_for(request.csr_pem(), &identity("x", Role::Manager, CLUSTER), past).unwrap();
    assert!(matches!(
        NodeCertificate::from_pem(&chain, request.key_pem(), &root),
        Err(CaError::Untrusted(_))
    ));
    let expired =
        NodeCertificate::from_pem_even_if_expired(&chain, request.key_pem(), &root).unwrap();
    let credentials = Credentials::Member(TlsMaterials::new(root.clone(), expired).unwrap());
    unlock_key(addr, credentials).await.unwrap_err();
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_once_and_kept() {
    let (authority, _, addr) = manager().await;
    let (root, node) = join(addr, &authority.token).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let files = CertificateFiles::in_state(directory.path());
    files.save_root(&root).unwrap();
    let materials = TlsMaterials::new(root, node).unwrap();
    let renewer = Renewer::new(materials.clone(), files.clone());
    let mut changes = materials.changes();
    let driver = tokio::spawn({
        let renewer = renewer.clone();
        async move {
            let managers = |materials: &TlsMaterials| {
                connect(&addr.to_string(), Credentials::Member(materials.clone())).ok()
            };
            renewer.run(managers).await
        }
    });
    renewer.renew_now();
    changes.changed().await;
    assert_eq!(materials.wait_for(|i| i.role == Role::Manager).await.node_id, "joined");
    assert_eq!(files.load().unwrap().identity().role, Role::Manager);
    unlock_key(addr, Credentials::Member(materials)).await.unwrap();
    driver.abort();
}

#[tokio::test]
async fn a_channel_reconnects_by_itself() {
    let root = RootCa::create().unwrap();
    let materials =
        TlsMaterials::issue(root.clone(), &identity("manager", Role::Manager, CLUSTER)).unwrap();
    let token = JoinToken::generate(root.digest());
    let authority = Authority { root, token, issued: Arc::default(), tokens_seen: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let channel = connect(&addr.to_string(), Credentials::Member(materials.clone())).unwrap();
    let mut client = CaClient::new(channel);
    let mut listener = Some(listener);
    for _ in 0..2 {
        let socket = match listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(addr).await.unwrap(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let routes = Routes::new(CaServer::new(authority.clone()));
        let server = tokio::spawn(serve(socket, materials.clone(), routes, None, async {
            drop(stopped.await)
        }));
        // After a restart the first call may still meet the old connection's end.
        while client.get_unlock_key(GetUnlockKeyRequest {}).await.is_err() {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        client.get_unlock_key(GetUnlockKeyRequest {}).await.unwrap_err();
    }
}

#[test]
fn addresses_are_checked() {
    for bad in ["", "host", "host:port", "10.0.0.1:2377/x", "a b:1"] {
        assert!(
            matches!(connect(bad, Credentials::Unverified), Err(CaError::InvalidAddress(_))),
            "{bad}"
        );
    }
}

/// Answers with the name of the thread that it runs on.
struct Where;

#[tonic::async_trait]
impl Ca for Where {
    async fn get_root_ca_certificate(
        &self,
        _request: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        let certificate = std::thread::current().name().unwrap_or_default().into();
        Ok(Response::new(GetRootCaCertificateResponse { certificate }))
    }

    async fn get_unlock_key(
        &self,
        _request: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tokio::test]
async fn express_connections_of_managers_are_served_on_their_own_runtime() {
    let express = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("express")
        .enable_all()
        .build()
        .unwrap();
    let root = RootCa::create().unwrap();
    let member = |role| TlsMaterials::issue(root.clone(), &identity("m", role, CLUSTER)).unwrap();
    let listen = async |runtime| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let routes = Routes::default().add_service(CaServer::new(Where));
        let materials = member(Role::Manager);
        tokio::spawn(serve(listener, materials, routes, runtime, std::future::pending()));
        addr
    };
    let (with, without) = (listen(Some(express.handle().clone())).await, listen(None).await);
    for (addr, role, is_express, expect) in [
        (&with, Role::Manager, true, true),
        (&with, Role::Manager, false, false),
        // Nobody goes before others because it says so.
        (&with, Role::Worker, true, false),
        (&without, Role::Manager, true, false),
    ] {
        let channel = match is_express {
            true => connect_express(addr, member(role)),
            false => connect(addr, Credentials::Member(member(role))),
        };
        let mut client = CaClient::new(channel.unwrap());
        for _ in 0..3 {
            let answer = client.get_root_ca_certificate(GetRootCaCertificateRequest {}).await;
            let thread = answer.unwrap().into_inner().certificate;
            assert_eq!(thread == b"express", expect, "{role:?} {is_express}");
        }
    }
    express.shutdown_background();
}

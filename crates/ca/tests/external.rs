//! An external authority over real mutual TLS: a server that speaks CFSSL's `sign` as far as nodes ask for it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use swarm_ca::{
    CaError, ExternalCa, Identity, NodeCertificate, Role, RootCa, SigningRequest, TlsMaterials,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn identity(node_id: &str, role: Role) -> Identity {
    Identity { node_id: node_id.into(), role, organization: "cluster1".into() }
}

/// Signs with `root`; cross-signs `next`, whatever the request says of it.
#[derive(Clone)]
struct Cfssl {
    root: RootCa,
    next: RootCa,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Cfssl {
    async fn start(self) -> String {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let url = format!("https://localhost:{}/sign", listener.local_addr().unwrap().port());
        let acceptor = TlsAcceptor::from(Arc::new(self.tls()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, cfssl) = (acceptor.clone(), self.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| cfssl.clone().answer(request));
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        url
    }

    /// Its own certificate is of its root, and it takes nobody's who has none of it.
    fn tls(&self) -> ServerConfig {
        let (key, chain) = self.root.issue(&identity("localhost", Role::Worker)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.certificates_pem()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(&chain).unwrap()],
                PrivateKeyDer::from_pem_slice(&key).unwrap(),
            )
            .unwrap()
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let certificate = match asked["profile"].as_str() {
            Some("CA") => self.root.cross_sign(self.next.certificates_pem()),
            _ => {
                let name = &asked["subject"]["names"][0];
                let subject = Identity {
                    node_id: asked["subject"]["CN"].as_str().unwrap().to_owned(),
                    role: Role::from_ou(name["OU"].as_str().unwrap()).unwrap(),
                    organization: name["O"].as_str().unwrap().to_owned(),
                };
                let csr = asked["certificate_request"].as_str().unwrap();
                self.root.sign(csr.as_bytes(), &subject, Duration::from_secs(7200))
            }
        };
        let answer = match certificate {
            Ok(pem) => {
                let pem = String::from_utf8(pem).unwrap();
                json!({ "success": true, "result": { "certificate": pem }, "errors": [] })
            }
            Err(error) => json!({
                "success": false,
                "result": null,
                "errors": [{ "code": 1, "message": error.to_string() }],
            }),
        };
        self.seen.lock().unwrap().push(asked);
        Ok(Response::new(Full::from(answer.to_string())))
    }
}

#[tokio::test]
async fn an_external_authority_signs_for_nodes_and_cross_signs() {
    let (root, next) = (RootCa::create().unwrap(), RootCa::create().unwrap());
    let seen = Arc::default();
    let cfssl = Cfssl { root: root.clone(), next: next.clone(), seen: Arc::clone(&seen) };
    let url = cfssl.start().await;
    let trusted = RootCa::from_pem(root.certificates_pem()).unwrap();
    let materials = TlsMaterials::issue(root.clone(), &identity("m1", Role::Manager)).unwrap();
    let dead = "https://localhost:1/".to_owned();
    let external = ExternalCa::new(vec![dead.clone(), url.clone()], trusted.clone(), materials);
    assert!(external.is_reachable().await);

    let request = SigningRequest::generate().unwrap();
    let worker = identity("w1", Role::Worker);
    let chain = external.sign(request.csr_pem(), &worker).await.unwrap();
    let node = NodeCertificate::from_pem(&chain, request.key_pem(), &trusted).unwrap();
    assert_eq!(node.identity(), &worker);
    let hosts = seen.lock().unwrap()[0]["hosts"].clone();
    assert_eq!(hosts, json!(["swarm-worker", "w1"]));
    let refused = external.sign(b"rubbish", &worker).await.unwrap_err();
    assert!(matches!(refused, CaError::ExternalRefused(_)), "{refused}");

    let cross = external.cross_sign(&next).await.unwrap();
    assert!(String::from_utf8(cross).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let last = seen.lock().unwrap().last().unwrap().clone();
    assert_eq!((&last["profile"], &last["subject"]["CN"]), (&json!("CA"), &json!("swarm-ca")));
    // It would sign another root than the one that was asked for.
    let other = RootCa::create().unwrap();
    let wrong = external.cross_sign(&other).await.unwrap_err();
    assert!(matches!(wrong, CaError::ExternalRefused(_)), "{wrong}");

    // One that has another root, one that takes no stranger, and one that is not there.
    let stranger = RootCa::create().unwrap();
    let strangers = TlsMaterials::issue(stranger.clone(), &identity("m1", Role::Manager)).unwrap();
    for (urls, root, materials) in [
        (vec![url.clone()], stranger, strangers.clone()),
        (vec![url], trusted.clone(), strangers.clone()),
        (vec![dead], trusted.clone(), strangers.clone()),
        (vec![], trusted, strangers),
    ] {
        let external = ExternalCa::new(urls, root, materials);
        let failed = external.sign(request.csr_pem(), &worker).await.unwrap_err();
        assert!(matches!(failed, CaError::ExternalUnreachable(_)), "{failed}");
    }
}
